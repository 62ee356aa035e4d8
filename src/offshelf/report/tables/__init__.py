"""Tables: rows of raw numbers, and their forms."""
