"""Weights files: found, fetched, identified by hash, and read."""
