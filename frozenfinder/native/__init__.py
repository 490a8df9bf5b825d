"""Extension modules, and other files of a registry that have to be on disk."""
