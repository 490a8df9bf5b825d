"""Docstrings: code without them behaves as before, but for `__doc__`."""

import os
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from support.sources import write_tree

from frozenfinder.freezer import Manifest, discover, freeze
from frozenfinder.freezer.compile.docstrings import strip
from frozenfinder.runtime.registry import Registry

SOURCE = b'''"""Of the module."""
from __future__ import annotations
class Class:
    """Of the class."""
    def method(self):
        """Of the method."""
    async def other(self):
        """Of the other."""
        "and a string"
        assert self
        return "kept"
text = "kept"
'''


def run(source: bytes) -> dict[str, Any]:
    scope: dict[str, Any] = {"__doc__": None, "__name__": "m"}
    exec(compile(strip(source, "m.py"), "m.py", "exec", dont_inherit=True), scope)
    return scope


def strings(code: CodeType) -> set[str]:
    own = {const for const in code.co_consts if isinstance(const, str)}
    return own.union(*(strings(each) for each in code.co_consts if isinstance(each, CodeType)))


def test_docstrings_go_and_all_else_stays() -> None:
    scope = run(SOURCE)
    found = scope["Class"]
    documented = (found, found.method, found.other)
    assert scope["__doc__"] is None
    assert [each.__doc__ for each in documented] == [None] * 3
    assert found().method() is None
    assert scope["text"] == "kept"
    code = compile(strip(SOURCE, "m.py"), "m.py", "exec", dont_inherit=True)
    assert {text for text in strings(code) if " " in text} == set()
    assert "kept" in strings(code)


def test_lines_keep_their_numbers() -> None:
    code = compile(strip(SOURCE, "m.py"), "m.py", "exec", dont_inherit=True)
    (inside,) = [each for each in code.co_consts if isinstance(each, CodeType)]
    methods = [each for each in inside.co_consts if isinstance(each, CodeType)]
    lines = {method.co_name: method.co_firstlineno for method in methods}
    assert {"method": 5, "other": 7}.items() <= lines.items()
    (other,) = [each for each in methods if each.co_name == "other"]
    assert {10, 11} <= {line for _, _, line in other.co_lines()}


@pytest.mark.parametrize("source", [b"", b"'''only'''", b"def f(): 'only'", b"class A: 'a'; 'b'"])
def test_nothing_but_docstrings_compiles(source: bytes) -> None:
    run(source)


def test_a_registry_without_docstrings_takes_none_from_one_with_them(tmp_path: Path) -> None:
    lib = write_tree(tmp_path / "lib", {"m.py": SOURCE})
    output = tmp_path / "out.frz"

    def freeze_again(*, strip_docstrings: bool) -> tuple[int, bytes]:
        manifest = Manifest(paths=(os.fspath(lib),), strip_docstrings=strip_docstrings)
        report = freeze(discover(manifest), output)
        registry = Registry.open(output)
        entry = registry.find_entry("m")
        assert entry is not None
        blob = bytes(registry.read_blob(entry))
        registry.close()
        return report.reused, blob

    reused, code = freeze_again(strip_docstrings=False)
    assert (reused, b"Of the method" in code) == (0, True)
    reused, code = freeze_again(strip_docstrings=True)
    assert (reused, b"Of the method" in code) == (0, False)
    assert freeze_again(strip_docstrings=True) == (1, code)
