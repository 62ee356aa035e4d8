"""Images in: a folder, a table or a list of paths becomes an image table; bytes become RGB."""
