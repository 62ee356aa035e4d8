"""Feature sets: layers of one or several backbones, side by side or multiplied."""
