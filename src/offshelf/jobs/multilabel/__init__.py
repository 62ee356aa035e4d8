"""Several labels for each image: ``fit`` and ``evaluate``."""
