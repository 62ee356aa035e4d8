"""Engines: what runs a backbone. Every engine gives what the torch reference gives."""
