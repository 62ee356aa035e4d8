"""Heads of several labels for each image: one against the rest, with a threshold each."""
