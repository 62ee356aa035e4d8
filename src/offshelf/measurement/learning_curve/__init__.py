"""Accuracy against training images, and a cautious look ahead."""
