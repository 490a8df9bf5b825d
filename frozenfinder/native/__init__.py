"""Extension modules, and other files of a registry that must be on disk."""
