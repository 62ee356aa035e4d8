"""The comparison of backbones, layers and heads."""
