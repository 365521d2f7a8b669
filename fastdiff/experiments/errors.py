"""What ends an experiment in one sentence."""


class ExperimentError(RuntimeError):
    """Something that a person can do something about; the message says what is wrong and what to do."""
