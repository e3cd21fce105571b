"""Tables, charts and pages: how results are shown."""
