"""Preparation of feature rows: normalisation and reduction."""
