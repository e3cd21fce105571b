"""The hyperparameter search of a cell."""
