"""Audit events: what a hook is told, in which order, and what becomes of one that interferes."""

import ast
import re
from pathlib import Path

import pytest
from support.processes import RunPython
from support.registries import build_registry, frozen
from support.sources import write_tree

import frozenfinder
from frozenfinder.freezer import Manifest, discover, freeze

PACKAGE = Path(frozenfinder.__file__).parent
PAGE = Path(__file__).parent.parent / "docs/reference/audit.md"

HOOK = """
import sys
import frozenfinder
events = []
def hook(event, args):
    if recording and (event.startswith("frozenfinder") or event in ("import", "exec")
                      or event == "marshal.loads"):
        events.append((event, *[arg for arg in args[:2] if isinstance(arg, str)]))
recording = False
sys.addaudithook(hook)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app.frz"
    path.write_bytes(build_registry(frozen("audited", "VALUE = 1")))
    path.chmod(0o644)
    return path


def test_a_hook_is_told_of_every_step(file: Path, run_python: RunPython) -> None:
    code = """
recording = True
frozenfinder.install(sys.argv[1], mode="closed")
print(*[event for event in events if event[0].startswith("frozenfinder")], sep="\\n")
frozenfinder.install(sys.argv[1], mode="closed")
del events[:]
import audited
recording = False
print(*events, sep="\\n")
"""
    assert run_python(HOOK + code, file).stdout.splitlines() == [
        f"('frozenfinder.open', '{file}')",
        f"('frozenfinder.install', '{file}', 'closed')",
        "('import', 'audited')",
        "('marshal.loads',)",
        f"('frozenfinder.exec', 'audited', '{file}')",
        "('exec',)",
    ]


def test_overlay_tells_of_each_execution(tmp_path: Path, run_python: RunPython) -> None:
    source = write_tree(tmp_path / "src", {"audited.py": "VALUE = 1\n"})
    freeze(discover(Manifest(paths=(str(source),))), tmp_path / "app.frz")
    code = """
sys.path.insert(0, sys.argv[2])
frozenfinder.install(sys.argv[1])
recording = True
import audited
del events[:], sys.modules["audited"]
import audited
recording = False
print(*[event for event in events if event[0].startswith("frozenfinder")])
"""
    found = run_python(HOOK + code, tmp_path / "app.frz", source).stdout
    assert found == f"('frozenfinder.exec', 'audited', '{tmp_path / 'app.frz'}')\n"


def test_bytes_are_not_opened(file: Path, run_python: RunPython) -> None:
    code = """
recording = True
frozenfinder.install(open(sys.argv[1], "rb").read(), mode="closed")
recording = False
print(*[event for event in events if event[0].startswith("frozenfinder")])
"""
    found = run_python(HOOK + code, file).stdout
    assert found == "('frozenfinder.install', '<bytes>', 'closed')\n"


def test_a_descriptor_that_was_closed_is_told_of_again(file: Path, run_python: RunPython) -> None:
    code = """
import os
finder = frozenfinder.install(sys.argv[1], mode="closed")
os.closerange(3, 4096)
recording = True
import audited
recording = False
print(*[event[0] for event in events if event[0].startswith("frozenfinder")])
"""
    found = run_python(HOOK + code, file).stdout
    assert found == "frozenfinder.open frozenfinder.exec\n"


@pytest.mark.parametrize("event", ["open", "install", "exec"])
def test_a_hook_that_raises_keeps_it_from_happening(
    file: Path, run_python: RunPython, event: str
) -> None:
    code = """
import sys
import frozenfinder
from frozenfinder.runtime.hooks import import_lock
def hook(event, args):
    if event == "frozenfinder." + sys.argv[2] and armed:
        raise PermissionError(event)
sys.addaudithook(hook)
armed, before = True, list(sys.meta_path)
try:
    frozenfinder.install(sys.argv[1], mode="closed")
    before = list(sys.meta_path)
    import audited
except PermissionError as error:
    print(error, import_lock.depth, sys.meta_path == before, "audited" in sys.modules)
armed = False
frozenfinder.install(sys.argv[1], mode="closed")
import audited
print(audited.VALUE)
"""
    found = run_python(code, file, event).stdout
    assert found == f"frozenfinder.{event} 0 True False\n1\n"


@pytest.mark.parametrize("event", ["open", "install", "exec"])
def test_a_hook_may_import(file: Path, run_python: RunPython, event: str) -> None:
    code = """
import sys
import frozenfinder
from frozenfinder.runtime.hooks import import_lock
def hook(event, args):
    if event == "frozenfinder." + sys.argv[2]:
        import colorsys
sys.addaudithook(hook)
frozenfinder.install(sys.argv[1], mode="closed")
import audited
print(audited.VALUE, import_lock.depth, "colorsys" in sys.modules)
"""
    assert run_python(code, file, event).stdout == "1 0 True\n"


def test_the_reference_has_every_event_with_as_many_arguments() -> None:
    text = PAGE.read_text("utf-8")
    rows = re.findall(r"^\| `(frozenfinder\.\w+)` \| (.*?) \|", text, re.MULTILINE)
    listed = {event: len(arguments.split(",")) for event, arguments in rows}
    raised = {}
    for path in {*PACKAGE.rglob("*.py")} - {PACKAGE / "texts.py"}:  # which raises CPython's own
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.audit":
                event = node.args[0]
                assert isinstance(event, ast.Constant)
                raised[event.value] = len(node.args) - 1
    assert raised == listed
