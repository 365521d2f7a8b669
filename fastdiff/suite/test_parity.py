"""Every stage draws the picture that the first stage of the same run draws."""

from fastdiff.quality.parity import assert_parity, assert_sound


def test_parity(stage, reference):
    assert_sound(reference.images)
    assert_sound(stage.images)
    assert_parity(stage.likeness_to(reference), stage.budget)
