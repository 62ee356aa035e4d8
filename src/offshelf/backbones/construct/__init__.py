"""Construction of torch modules from specs, with their weights."""
