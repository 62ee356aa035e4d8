"""Heads: classifiers trained on features. Arrays in, fitted head out; nothing here knows images."""
