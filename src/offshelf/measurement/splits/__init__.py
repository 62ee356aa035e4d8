"""Training and test rows: protocols, groups of images, and split files."""
