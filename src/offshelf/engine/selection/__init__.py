"""Selection of the engine and device, and what of them decides the last bits of features."""
