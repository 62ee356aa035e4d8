"""Who trains and who is tested: protocols, groups of images, and split files."""
