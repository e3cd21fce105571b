"""Compute what `models.layers` defines in less time, one file for each kind of work."""
