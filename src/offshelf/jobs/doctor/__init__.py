"""``doctor``: what is installed, what is kept on disk, and what is wrong with it."""
