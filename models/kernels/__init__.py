"""The kernels: what `models.layers` defines, computed in less time; one file for each kind of work."""
