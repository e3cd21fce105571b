"""From raw files to prepared rows."""
