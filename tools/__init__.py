"""Programs of the project that are not installed: checks of a machine, studies, training of the embedded model."""
