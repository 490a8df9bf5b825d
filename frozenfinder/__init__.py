"""frozenfinder: CPython that boots from one frozen registry file.

    import frozenfinder

    finder = frozenfinder.install("app.frz")

`install` and `uninstall` are imported at once; `public` finds each other name when a program first
uses it. `__init__.pyi` has all of them for type checkers.
"""

from frozenfinder.runtime.hooks import install as install
from frozenfinder.runtime.hooks import uninstall as uninstall

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # deferred: a boot uses no other name
    from frozenfinder.public import find

    value = globals()[name] = find(name)
    return value


def __dir__() -> "list[str]":
    # deferred: as above
    from frozenfinder.public import HOMES

    return sorted({*globals(), *HOMES})
