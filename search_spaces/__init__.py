"""The search spaces: one file a model, named as the model (see `search_spaces.shared`)."""
