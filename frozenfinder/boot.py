"""The code of the modules that every boot imports, in one piece.

In this file it is empty. `frozenfinder freeze` and `frozenfinder enable` write it into this
module's `.pyc` file, so that one file is read instead of a dozen. It is a `.pyc` like any other: it
is valid as long as this file is unchanged, and deleting it costs nothing but time.
"""

CODES = (("", 0, 0, None),)
"""For each module: its name below the package, its source's mtime and size, as in `.pyc` files, and
its code, or the marshalled code if few boots need it. Code whose source has another mtime or size
is not used."""
