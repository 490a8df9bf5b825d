"""Flags, variables, file systems and programs that do as they like: a boot goes on all the same."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
from support.processes import TIMEOUT, Python
from support.registries import build_registry, frozen
from support.sources import write_tree

import frozenfinder
from frozenfinder.freezer import Manifest, discover, freeze

HOME = Path(frozenfinder.__file__).parent.parent
MODES = ("overlay", "closed")
SOURCES = {
    "pkg/__init__.py": "import sys\nVALUE = 'package'\n",
    "pkg/mod.py": "from pkg import VALUE\nLONG = " + repr("x" * 30_000) + "\n",
    "late.py": "VALUE = 'late'\nLONG = " + repr("y" * 30_000) + "\n",
}

posix_only = pytest.mark.skipif(os.name != "posix", reason="a POSIX system")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to become another user"
)


class Tree(NamedTuple):
    """Sources, and the registry that was made of them."""

    source: Path
    registry: Path


def make_tree(folder: Path) -> Tree:
    source = write_tree(folder / "src", SOURCES)
    freeze(discover(Manifest(paths=(str(source),))), folder / "app.frz")
    return Tree(source, folder / "app.frz")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return make_tree(tmp_path)


START = f"""
import os, sys
sys.path[:0] = [sys.argv[2], {str(HOME)!r}]
import frozenfinder
finder = frozenfinder.install(sys.argv[1], mode=sys.argv[3])
"""
IMPORT = """
import pkg.mod
print(finder.served, pkg.mod.VALUE, pkg.__file__ == os.path.join(sys.argv[4], "pkg", "__init__.py"))
"""
LATE = """
import late
print(late.VALUE, finder.served)
"""


def arguments(tree: Tree, mode: str) -> tuple[str, ...]:
    """What the code above finds in `sys.argv`; the last is where files are said to lie."""
    return (str(tree.registry), str(tree.source), mode, str(tree[mode == "closed"]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "flags",
    [
        ["-I"],
        ["-E"],
        ["-S"],
        ["-P"],
        ["-B"],
        ["-v"],
        ["-W", "error"],
        ["-X", "frozen_modules=off"],
        ["-X", "importtime"],
        ["-X", "dev"],
        ["-I", "-S", "-B", "-v", "-X", "frozen_modules=off"],
    ],
    ids=" ".join,
)
def test_flags_of_the_interpreter(tree: Tree, python: Python, flags: list[str], mode: str) -> None:
    done = python(*flags, "-c", START + IMPORT, *arguments(tree, mode))
    assert done.stdout == "2 package True\n"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTHONSAFEPATH", "1"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONPYCACHEPREFIX", "cache"),
        ("PYTHONWARNINGS", "error"),
        ("LC_ALL", "C"),
        ("FROZENFINDER_WITHOUT", "collector"),
        ("FROZENFINDER_DEBUG", "1"),
    ],
)
def test_variables(tree: Tree, python: Python, name: str, value: str, mode: str) -> None:
    done = python("-c", START + IMPORT, *arguments(tree, mode), env={name: value})
    assert done.stdout == "2 package True\n"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("home", ["/nonexistent", "", "relative"])
def test_a_home_that_does_not_exist(tree: Tree, python: Python, home: str, mode: str) -> None:
    env = {"HOME": home, "USERPROFILE": home, "XDG_CACHE_HOME": ""}
    assert python("-c", START + IMPORT, *arguments(tree, mode), env=env).stdout == (
        "2 package True\n"
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_relative_path_and_a_later_chdir(tree: Tree, python: Python, mode: str) -> None:
    code = START.replace("sys.argv[1]", "os.path.basename(sys.argv[1])")
    code += "os.chdir('/')\nos.closerange(3, 4096)\n" + IMPORT
    done = python("-c", code, *arguments(tree, mode), cwd=tree.registry.parent)
    assert done.stdout == "2 package True\n"


CHANGES = {
    "closed": "os.closerange(3, 4096)",
    "closed and reused": "os.closerange(3, 4096)\nkept = [open(os.devnull) for _ in range(1100)]",
    "replaced": "os.replace(sys.argv[1] + '.new', sys.argv[1])",
    "removed": "os.remove(sys.argv[1])",
    "made another's to write": "os.chmod(sys.argv[1], 0o666)",
    "touched": "os.utime(sys.argv[1], (0, 0))",
}
"""What a program does to the registry, or its descriptor, while it runs; nothing comes of it."""


@posix_only
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_registry_goes_on_that_is(tree: Tree, python: Python, change: str, mode: str) -> None:
    tree.registry.with_name("app.frz.new").write_bytes(build_registry(frozen("other")))
    code = START + "import pkg.mod\n" + CHANGES[change] + LATE
    if "reused" in change:
        code = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\n" + code
    assert python("-c", code, *arguments(tree, mode)).stdout == "late 3\n"


DAMAGES = {
    "truncated": "os.truncate(sys.argv[1], 1000)",
    "emptied": "open(sys.argv[1], 'w').close()",
    "written over": "open(sys.argv[1], 'r+b').write(b'?' * os.path.getsize(sys.argv[1]))",
    "replaced and closed": (
        "os.replace(sys.argv[1] + '.new', sys.argv[1])\nos.closerange(3, 4096)"
    ),
    "removed and closed": "os.remove(sys.argv[1])\nos.closerange(3, 4096)",
}


@posix_only
@pytest.mark.parametrize("damage", DAMAGES)
def test_overlay_goes_on_without_a_registry_that_is(
    tree: Tree, python: Python, damage: str
) -> None:
    """With one warning, and stock's own import; here of a module that no window has yet."""
    tree.registry.with_name("app.frz.new").write_bytes(build_registry(frozen("other")))
    code = START + "import pkg.mod\n" + DAMAGES[damage] + LATE
    done = python("-c", code, *arguments(tree, "overlay"))
    assert done.stdout == "late 2\n"
    assert (
        done.stderr.count("RuntimeWarning: frozenfinder uses normal imports from now on: registry ")
        == 1
    )


@posix_only
@pytest.mark.parametrize("damage", DAMAGES)
def test_closed_mode_tells_of_a_registry_that_is(tree: Tree, python: Python, damage: str) -> None:
    tree.registry.with_name("app.frz.new").write_bytes(build_registry(frozen("other")))
    attempt = """
from frozenfinder.errors import RegistryError
from frozenfinder.runtime.hooks import import_lock
try:
    import late
except RegistryError as error:
    print(error.path == sys.argv[1], import_lock.depth, "late" in sys.modules)
"""
    code = START + "import pkg.mod\n" + DAMAGES[damage] + attempt
    assert python("-c", code, *arguments(tree, "closed")).stdout == "True 0 False\n"


@as_root
@pytest.mark.parametrize("mode", MODES)
def test_a_file_system_that_cannot_be_written(python: Python, mode: str) -> None:
    """Root writes wherever he likes, so this is another user, to whom nothing belongs."""
    imports = "import frozenfinder, frozenfinder.closed.finder, os, sys\n"
    become = f"sys.path.insert(0, {str(HOME)!r})\n{imports}os.setgroups([])\nos.setuid(65534)\n"
    code = "import sys\n" + become + START + IMPORT
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        tree = make_tree(Path(folder))
        env = {"FROZENFINDER_CACHE": f"{folder}/cache"}
        done = python("-c", code, *arguments(tree, mode), env=env)
        assert sorted(path.name for path in Path(folder).iterdir()) == ["app.frz", "src"]
    assert done.stdout == "2 package True\n"


@posix_only
def test_a_disk_that_is_full(tree: Tree, python: Python) -> None:
    """Of a process that may not write files of that size; the old registry is still there.

    Nor may it write a `.pyc`: before 3.14 importlib would leave half of one.
    """
    before = tree.registry.read_bytes()
    code = f"""
import resource, sys
sys.path.insert(0, {str(HOME)!r})
from frozenfinder.cli.commands import main
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sys.exit(main(["freeze", "--path", sys.argv[1], "--with-source", "-o", sys.argv[2]]))
"""
    done = python("-B", "-c", code, tree.source, tree.registry, check=False)
    assert done.returncode == 2
    message = f"frozenfinder: output '{tree.registry}': cannot be written: File too large\n"
    assert done.stderr == message
    assert tree.registry.read_bytes() == before
    assert sorted(path.name for path in tree.registry.parent.iterdir()) == ["app.frz", "src"]


@pytest.mark.usefixtures("processes")
@linux_only
@pytest.mark.parametrize("command", ["ls", "info", "verify"])
def test_an_answer_that_cannot_be_written(tree: Tree, command: str) -> None:
    argv = [sys.executable, "-m", "frozenfinder", command, str(tree.registry)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            argv, stdout=full, stderr=subprocess.PIPE, check=False, text=True, timeout=TIMEOUT
        )
    assert done.returncode not in (0, 1)
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
