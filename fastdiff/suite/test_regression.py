"""No stage is slower than it was accepted. These tests run after the last stage has ended, when the machine is free."""


def test_not_slower(regression):
    regression.assert_not_slower()
