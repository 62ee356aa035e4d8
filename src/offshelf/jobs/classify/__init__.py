"""``classify``: the best ImageNet classes of pictures."""
