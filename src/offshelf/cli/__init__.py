"""The command line: parsers and printing. One file per command; the work is in jobs."""
