"""How much memory one call needs at its peak, and where in the call that is."""


def test_memory(stage):
    assert stage.memory.peak_bytes > 0
