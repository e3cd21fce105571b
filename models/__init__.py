"""The models: one file a model, found by its name (see `models.registry`)."""
