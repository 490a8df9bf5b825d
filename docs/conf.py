"""Sphinx configuration."""

from importlib.metadata import version as installed_version

project = "frozenfinder"
author = "The frozenfinder authors"
copyright = author  # noqa: A001
version = release = installed_version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]

default_role = "code"

# every reference must have a target; MyST checks the anchors of links between pages anyway
nitpicky = True
nitpick_ignore_regex = [
    # the standard library, whose list of targets is not there without a network
    ("py:class", r"(os\.)?PathLike|(types\.)?(Code|Module)Type|collections\.abc\.\w+"),
    # names of types that users never write
    ("py:class", r"Finder|Mode|Progress|Kind|Table|layout\.Anchor|Self"),
]
linkcheck_timeout = 10

autodoc_default_options = {"exclude-members": "__init__, __new__"}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"{project} {release}"
