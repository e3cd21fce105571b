"""Hold the search spaces, one file for each model (see `search_spaces.shared`)."""
