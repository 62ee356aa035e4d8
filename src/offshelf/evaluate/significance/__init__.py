"""Whether a difference is real: paired tests and corrections."""
