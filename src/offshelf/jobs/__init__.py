"""Jobs: what each command does, as functions that return frozen results."""
