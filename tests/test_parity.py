"""Overlay's modules and specs are stock's, attribute by attribute.

Every module that is frozen is imported, in one order, in two fresh processes; what is compared is
in `attributes.py`.
"""

import json
import os
import subprocess
import sys
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.processes import LONG_TIMEOUT, PROGRAMS, Python

import frozenfinder

PROBE = PROGRAMS / "attributes.py"

NOT_IMPORTED = {
    "antigravity": "opens a browser",
    "idlelib.idle": "starts a graphical program",
    "idlelib.__main__": "starts a graphical program",
    "turtledemo.__main__": "starts a graphical program",
    "sitecustomize": "belongs to the machine, and was imported before the probe",
}


def probe(names: list[str], *registry: Path) -> dict[str, Any]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FROZENFINDER"))}
    done = subprocess.run(
        [sys.executable, PROBE, *registry],
        input="\n".join(names),
        capture_output=True,
        check=False,
        text=True,
        timeout=LONG_TIMEOUT,
        env=env | {"PYTHONHASHSEED": "0"},
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def compare(registry: Path, at_least: int) -> None:
    held = sorted(
        entry.name
        for entry in frozenfinder.Registry.open(registry).entries()
        if entry.kind == "source" and entry.name not in NOT_IMPORTED
    )
    stock, ours = probe(held), probe(held, registry)
    assert ours["failures"] == stock["failures"]
    assert list(ours["modules"]) == list(stock["modules"])
    differences = {
        name: {
            key: (expected[key], ours["modules"][name][key])
            for key in expected
            if ours["modules"][name][key] != expected[key]
        }
        for name, expected in stock["modules"].items()
        if ours["modules"][name] != expected
    }
    assert differences == {}
    from_source = [name for name, was in stock["modules"].items() if was["source loader"]]
    # a body may set its spec and loader to None, as `_pyrepl.__main__` does
    served = [name for name in ours["frozen"] if stock["modules"][name]["spec"] is not None]
    assert served == [name for name in from_source if name not in ours["bypassed"]]
    assert {name for name in ours["bypassed"] if not is_taken_over(name)} == set()
    assert ours["served"] >= len(ours["frozen"]) >= at_least


def is_taken_over(name: str) -> bool:
    """Whether stock finds that name elsewhere too: setuptools brings a `distutils` of its own."""
    return name.partition(".")[0] == "distutils" and find_spec("_distutils_hack") is not None


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "parity.frz"


def test_every_module_of_the_stdlib_is_as_stock(python: Python, output: Path) -> None:
    python("-m", "frozenfinder", "freeze", "--stdlib", "-o", output)
    compare(output, at_least=400)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "at_least"), [("Django", 500), ("SQLAlchemy", 150), ("Flask", 15)]
)
def test_every_module_of_a_library_is_as_stock(
    name: str, at_least: int, python: Python, output: Path
) -> None:
    assert distribution(name).version
    python("-m", "frozenfinder", "freeze", "--distribution", name, "-o", output)
    compare(output, at_least)
