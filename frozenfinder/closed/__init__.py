"""Closed mode: finders, loaders and readers for which the registry is all there is."""
