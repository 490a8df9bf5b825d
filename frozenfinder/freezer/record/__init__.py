"""From a run of a command to what it imported and opened."""
