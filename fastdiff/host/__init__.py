"""The computer under everything: what its processor can do, and what its C library does with memory. No torch."""
