"""Transferability: cheap scores of features that no head is trained for."""
