"""Features: from images, through an engine, into a store of whole files."""
