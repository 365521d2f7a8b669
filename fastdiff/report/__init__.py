"""What a person sees: progress while a stage is built, and the ladder at the end."""
