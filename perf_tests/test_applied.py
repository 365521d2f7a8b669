"""Every stage shows in its structure what its recipe promises, before the timed calls."""

from fastdiff.instruments.proof import assert_applied


def test_applied(stage):
    assert_applied(stage.recipe, stage.fingerprint)
