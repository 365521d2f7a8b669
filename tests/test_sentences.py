"""Every reason code has a sentence, and the sentences of the kept verdicts can be read in one file.

`python tests/test_sentences.py` writes the file anew; read the diff.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from kept import variants
from test_kept_verdicts import judged_pairs, judged_run

from fastdiff.compare.reasons import Code
from fastdiff.report import sentences, verdicts
from fastdiff.report.steps import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastdiff.compare.gate import Judgement

GOLDEN = variants.HERE / "sentences.txt"
OF_INTERVALS = {"inside-band", "beyond-band", "crosses-band"}
"""Written together with the estimate."""


def judgements(folder: Path) -> Iterator[tuple[str, Judgement]]:
    for name, run, accepted in variants.runs():
        yield from ((name, one) for one in judged_run(run, accepted, folder))
    for name, experiment in variants.pairs():
        yield from ((name, one) for one in judged_pairs(experiment, folder))


def examples() -> str:
    """The first verdict of each kind, as a failing test prints it."""
    found: dict[tuple[str, ...], str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, one in judgements(Path(folder)):
            verdict = one.verdict
            parts = (*verdict.about, verdict.reason, *verdict.notes, *verdict.details[:1])
            kind = (one.metric, verdict.word, *(part.code for part in parts))
            found.setdefault(kind, f"# {name}\n{verdicts.announced(one, Shell())}\n")
    return "\n".join(found.values())


def test_every_code_has_a_sentence() -> None:
    assert set(sentences.SENTENCES) | OF_INTERVALS == set(get_args(Code))


def test_the_examples_read_as_they_were_written_down() -> None:
    assert examples() == GOLDEN.read_text()


if __name__ == "__main__":
    GOLDEN.write_text(examples())
