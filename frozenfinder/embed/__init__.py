"""A registry as C source, for programs that embed CPython."""
