"""The modules that every boot imports. They import only built-in modules, and each other."""
