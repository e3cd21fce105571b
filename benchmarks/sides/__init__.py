"""The sides that are compared, one script each, all with the command line and the record of `sides.timing`."""
