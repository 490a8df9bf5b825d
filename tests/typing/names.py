"""Names that `frozenfinder` and its parts have, and names that are misspelt.

As `install.py`: nothing runs this file, and `tox -e type` checks it.
"""

import frozenfinder
from frozenfinder import *
from frozenfinder import FrozenFindr  # type: ignore[attr-defined]
from frozenfinder import instal  # type: ignore[attr-defined]
from frozenfinder import find  # type: ignore[attr-defined]  # of `public`, which is internal
from frozenfinder.bundle import bundel  # type: ignore[attr-defined]
from frozenfinder.freezer import Manifest, Omission, Progress, discover, freeze
from frozenfinder.freezer import frieze  # type: ignore[attr-defined]

frozenfinder.Finder
Progress
frozenfinder.defualt_registry  # type: ignore[attr-defined]
frozenfinder.__version__ = "2"  # type: ignore[misc]

default_registry().upper()
freeze(discover(Manifest(stdlib=True)), "app.frz")
freeze("app.toml", "app.frz")  # type: ignore[arg-type]
