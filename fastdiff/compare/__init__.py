"""What the numbers mean: estimates and verdicts. Pure functions; imports neither torch nor pytest."""
