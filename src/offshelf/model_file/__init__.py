"""The ``.offshelf`` model file: what it means, and the zip that holds it."""
