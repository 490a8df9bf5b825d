"""Boot CPython from one frozen registry file instead of thousands of small ones."""

__version__ = "0.1.0"
