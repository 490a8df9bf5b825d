"""The files that have an environment install a registry at its start."""
