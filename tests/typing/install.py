"""`install` as programs call it: mypy says what each call returns, and what is wrong.

Nothing runs this file. `tox -e type` checks it: each `type: ignore` names the error that its line
has to have, and one that is not needed is an error itself.
"""

from pathlib import Path
from typing import Literal, assert_type

import frozenfinder
from frozenfinder import ClosedFinder, Finder, FrozenFinder, Mode, NullFinder, Registry, install

assert_type(install(), FrozenFinder | NullFinder)
assert_type(install("app.frz"), FrozenFinder | NullFinder)
assert_type(install(Path("app.frz"), mode="overlay", tests=True), FrozenFinder | NullFinder)
assert_type(install(b"", mode="closed", trusted=True), ClosedFinder | NullFinder)
assert_type(install(Registry.open("app.frz"), sha256="00"), FrozenFinder | NullFinder)

install("app.frz", mode="closed").lay_out("django", "library")
install("app.frz").lay_out("x")  # type: ignore[union-attr]  # overlay has no such method
install("app.frz", mode="overlya")  # type: ignore[call-overload]
install("app.frz", "closed")  # type: ignore[call-overload]  # by keyword alone
install(3)  # type: ignore[call-overload]
install("app.frz", pinned="00")  # type: ignore[call-overload]


def choose(mode: Mode) -> Finder:
    """A mode that is only known when the program runs."""
    return assert_type(install("app.frz", mode=mode), Finder)


choose("closed")
choose("overlya")  # type: ignore[arg-type]

for finder in frozenfinder.installed():
    assert_type(finder, Finder)
    assert_type(finder.mode, str)
    assert_type(finder.served, int)
    assert_type(finder.bypassed, dict[str, str])
    finder.fixups.records()
    finder.invalidate_caches()
    frozenfinder.uninstall(finder)
    finder.served = 3  # type: ignore[misc]
frozenfinder.uninstall("overlay")  # type: ignore[arg-type]

with Registry.open("app.frz") as registry:
    assert_type(registry, Registry)
    assert_type(registry.roots[0][0], Literal["stdlib", "prefix", "registry", "absolute"])
    for entry in registry.entries():
        assert_type(entry.name, str)
        assert_type(entry.table, Literal["bootstrap", "app", "stdlib", "test"])
        if entry.kind == "extention":  # type: ignore[comparison-overlap]
            break
        entry.nmae  # type: ignore[attr-defined]
