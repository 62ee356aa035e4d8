"""Which layer, which backbone, which head, and whether the difference is real."""
