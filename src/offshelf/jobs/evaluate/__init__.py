"""``evaluate``: what a model file scores on labelled images."""
