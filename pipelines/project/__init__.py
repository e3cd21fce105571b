"""Hold what all parts of a pipeline share: params, paths, files, seeds and provenance."""
