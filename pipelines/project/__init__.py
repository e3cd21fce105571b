"""What all of a pipeline shares: its params, paths, files, seeds, and the record of what made a result."""
