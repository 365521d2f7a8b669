"""Whether the picture is still the same: tripwires first, then metrics, then the budget."""
