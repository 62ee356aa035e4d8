"""Specs: what a backbone, its weights and its input are, as data; and the input made by them."""
