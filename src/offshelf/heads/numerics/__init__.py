"""Linear algebra that heads share: exact, blocked, in several threads."""
