"""Features: from images, through an engine, into a store that nothing can half-write."""
