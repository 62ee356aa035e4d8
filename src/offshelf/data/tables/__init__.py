"""The image table: images with class and split, from folders, CSV, Parquet or lists of paths."""
