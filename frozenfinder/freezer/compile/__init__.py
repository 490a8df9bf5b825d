"""From source files to marshalled code and regular expressions."""
