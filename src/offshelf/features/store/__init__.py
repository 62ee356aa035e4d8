"""The feature store: Parquet parts, their index, merging and checks."""
