"""Hold one script for each side, with the command line and record of `sides.timing`."""
