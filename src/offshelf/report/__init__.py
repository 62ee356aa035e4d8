"""Reporting: frozen rows first, then their forms. Nothing here computes a new figure."""
