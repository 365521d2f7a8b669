"""What needs more than one process: trials, and what many of them show together."""
