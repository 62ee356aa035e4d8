"""``fit``: train and evaluate a head, and make the model."""
