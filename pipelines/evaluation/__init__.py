"""The final runs of a cell, and the comparison of models."""
