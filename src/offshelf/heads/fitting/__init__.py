"""Training heads, scoring with them, and serialising them."""
