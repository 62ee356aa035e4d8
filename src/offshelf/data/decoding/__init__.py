"""Decoding: the bytes of an image file become RGB pixels, 8 bits a channel, within limits."""
