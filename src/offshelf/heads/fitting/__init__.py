"""Training a head, asking it, and taking it apart for a file."""
