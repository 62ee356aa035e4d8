"""Probabilities of a head's scores, and images of no known class."""
