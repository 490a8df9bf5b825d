"""Closed mode: finders, loaders and readers that use only the registry."""
