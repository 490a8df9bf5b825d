"""The modules that every boot imports; they import only built-in modules and each other."""
