"""Sphinx configuration."""

from importlib.metadata import version as installed_version

project = "frozenfinder"
author = "The frozenfinder authors"
copyright = author  # noqa: A001
version = release = installed_version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]

default_role = "code"
autodoc_default_options = {"exclude-members": "__init__, __new__"}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"{project} {release}"
