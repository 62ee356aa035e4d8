"""The terminal: the parser, progress and results, and the standard streams."""
