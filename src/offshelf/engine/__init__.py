"""Engines, which run a backbone; all agree with the torch reference."""
