"""The commands as functions: the options of the command line as keywords."""
