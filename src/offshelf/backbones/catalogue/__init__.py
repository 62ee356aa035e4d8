"""The catalogue: backbones that have a name here, their layers, and any other of the libraries."""
