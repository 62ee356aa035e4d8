"""``maps`` and ``filters``: what a network computes, as pictures."""
