"""The files that make the interpreters of an environment install a registry when they start."""
