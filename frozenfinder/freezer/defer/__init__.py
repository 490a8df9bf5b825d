"""Lazy boot: which imports of a module wait until their names are used, and the code for that."""
