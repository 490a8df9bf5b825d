"""From what was compiled to the bytes of a registry, and the file that holds them."""
