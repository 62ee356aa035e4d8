"""The parameter table of a network: rows, operations and receptive fields."""
