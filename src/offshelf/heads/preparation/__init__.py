"""What is done to feature rows before a head: normalisation and reduction."""
