"""From source files to marshalled code, and to what is frozen with it."""
