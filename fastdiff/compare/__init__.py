"""What the numbers mean: estimates and verdicts. Pure functions; imports neither torch nor pytest."""

from typing import NoReturn


def __getattr__(name: str) -> NoReturn:
    """Another project called fastdiff has a module of this name with a function of this name. Where its files lie over
    ours, nothing of fastdiff can be imported, and this is what its import comes to."""
    from fastdiff.record.distribution import clash

    if name == "compare" and (sentence := clash()):
        raise ImportError(sentence)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
