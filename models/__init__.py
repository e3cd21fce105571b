"""Hold the models, one file for each; `models.registry` finds them by name."""
