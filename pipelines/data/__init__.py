"""Turn raw files into prepared rows."""
