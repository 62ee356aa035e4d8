"""``extract``: features as one Parquet file, and what an extraction costs."""
