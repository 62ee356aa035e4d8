"""Folders of images: which files are images, and how splits and classes lie in them."""
