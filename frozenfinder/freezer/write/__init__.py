"""From compiled modules to the bytes of a registry, and its file."""
