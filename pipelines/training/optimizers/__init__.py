"""Optimizers that update only the rows of a sparse gradient."""
