"""Backbones: a network, one weights file, and the preprocessing that belongs to it."""
