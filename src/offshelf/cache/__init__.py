"""What is kept on disk: who uses it, how much there may be, and what goes first."""
