"""What a built stage is and does: facts that can be counted, and times."""
