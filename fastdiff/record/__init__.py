"""What is kept on disk, and where. Imports no torch."""
