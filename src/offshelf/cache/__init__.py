"""The cache on disk: its contents, their use, and its size limit."""
