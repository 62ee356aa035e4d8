"""The torch engine: the reference, gradients, and a network in training mode."""
