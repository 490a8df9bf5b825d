"""Overlay and stock obey the same commands, chosen at random, and tell the same.

Two interpreters live as long as an example: one stock, one with a registry of the folders `lib` and
`second` as they were at first. Between the commands files are edited below both their feet. Each
command's account has all that the modules say of themselves, what was executed, what finders, hooks
and patched parts of importlib were asked, `sys.path_importer_cache`, and the errors.

Left out, because there the two are known to differ: files that appear during one outermost import,
and edits that keep the size and the time of a source, which no `.pyc` with a time notices either.
"""

import json
import os
import py_compile
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from support.processes import PROGRAMS, TIMEOUT, clean_environment
from support.sources import write_tree

from frozenfinder.freezer import Manifest, discover, freeze

FOLDERS = ("lib", "second", "other")
STEMS = (
    *("m", "n", "broken", "pkg/__init__", "pkg/sub", "pkg/inner/__init__", "pkg/inner/leaf"),
    *("space/portion", "space/__init__", "m/__init__", "pkg/sub/__init__", "pkg/inner"),
)
"""Of source files. The last ones are packages in the place of modules, and the reverse."""

NAMES = (
    *("m", "n", "broken", "pkg", "pkg.sub", "pkg.inner", "pkg.inner.leaf", "space"),
    *("space.portion", "pkg.absent", "m.absent"),
)
STATEMENTS = (
    *("import m", "import n", "import pkg.inner.leaf", "from pkg import sub", "import broken"),
    *("from pkg.inner import *", "from space import portion", "from pkg import absent"),
    *("import space.portion as portion", "from m import VALUE", "from m import absent"),
)
ITEMS = ("lib", "second", "other", "link", "lib/", "lib/../lib", "./second", "", ".", "absent")
"""Of `sys.path`. Those below the root are absolute at times, and relative at others."""

PATCHES = (
    *("PathFinder.find_spec", "PathFinder._get_spec", "FileFinder.find_spec"),
    *("SourceFileLoader.get_code", "SourceFileLoader.exec_module", "SourceLoader.get_code"),
    *("SourceFileLoader.source_to_code", "SourceFileLoader.create_module", "FileLoader.get_data"),
)
"""Parts of importlib that a program replaces."""

TEXT = "executed.append(__name__)\nVALUE = {!r}\ndef function():\n    pass\n"
FROZEN = {
    "lib/m.py": TEXT.format("first"),
    "lib/broken.py": TEXT.format("first") + "raise RuntimeError('as written')\n",
    "lib/pkg/__init__.py": TEXT.format("first"),
    "lib/pkg/sub.py": TEXT.format("first") + "import m\n",
    "lib/pkg/inner/__init__.py": TEXT.format("first"),
    "lib/pkg/inner/leaf.py": TEXT.format("first") + "from .. import sub\n",
    "lib/space/portion.py": TEXT.format("first"),
    "second/n.py": TEXT.format("first") + "import pkg.sub\n",
}
ADDITIONS = {
    "alone": "",
    "with an import": "import m\n",
    "with a syntax error": "= =\n",
    "with an error": "raise ValueError(__name__)\n",
}
BEGINNING = 1_600_000_000
"""When the folders were frozen, in seconds of the clock that the files go by."""

ZIP, NPM = 315_532_800, 499_162_500
TIMES = {"second/n.py": ZIP, "lib/pkg/inner/leaf.py": 0}
"""Of frozen files, if not `BEGINNING`: these times say nothing."""


class Clock:
    """Gives every change a time of its own, ten seconds after the last.

    The kernel's own has ticks of some milliseconds: changes within one cannot be told apart, by
    stock no more than by overlay, and the two look at different moments.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = BEGINNING
        self.past = BEGINNING // 2
        self.sets_back = False
        self._folders: dict[Path, int] = {}

    def tick(self) -> int:
        self.now += 10
        return self.now

    def settle(self, *renewed: Path) -> None:
        """Let every folder that has been written to, or is below those, have been so now.

        Or at another time that no folder had before, as tools set it back that copy and unpack.
        """
        self.past -= 10
        now = self.past if self.sets_back else self.now
        for folder in [self.root, *self.root.rglob("*/")]:
            known = folder.stat().st_mtime_ns == self._folders.get(folder)
            if not known or any(each in (folder, *folder.parents) for each in renewed):
                os.utime(folder, (now, now))
                self._folders[folder] = now * 10**9


class OverlayMachine(RuleBasedStateMachine):
    """One tree of files, and the interpreters that import from it."""

    steps = served = 0
    registry: Path

    @initialize(order=st.none() | st.permutations(NAMES))
    def begin(self, order: "list[str] | None") -> None:
        """Import all in that order after every change of a file, or none."""
        self.order = order
        self._temporary = tempfile.TemporaryDirectory()
        self.root = Path(self._temporary.name, "root").resolve()
        self.clock = Clock(self.root)
        self.root.mkdir()
        self.write_frozen()
        self.clock.settle()
        registry = self.root.with_suffix(".frz")
        frozen = tuple(str(self.root / name) for name in ("lib", "second"))
        freeze(discover(Manifest(paths=frozen), []), registry, jobs=1)
        self.registry = registry
        self.twins = [self.start(), self.start(registry)]
        self.path = [f"{self.root}/lib", f"{self.root}/second"]
        self.tell("set_path", self.path)

    def write_frozen(self) -> None:
        """The folders as they are when they are frozen."""
        for folder in FOLDERS:
            (self.root / folder).mkdir()
        write_tree(self.root, FROZEN)
        for path in FROZEN:
            os.utime(self.root / path, (TIMES.get(path, BEGINNING),) * 2)
        (self.root / "link").unlink(missing_ok=True)
        (self.root / "link").symlink_to("lib")

    def start(self, *registry: Path) -> "subprocess.Popen[str]":
        argv = [sys.executable, "-B", *map(str, (PROGRAMS / "twin.py", self.root, *registry))]
        twin = subprocess.Popen(
            argv,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask(twin, NAMES)
        return twin

    def teardown(self) -> None:
        for twin in getattr(self, "twins", ()):
            output, _ = twin.communicate(json.dumps(["served"]) + "\n", timeout=TIMEOUT)
            if output:
                type(self).served += json.loads(output.splitlines()[-1])["outcome"]
        if hasattr(self, "root"):
            self._temporary.cleanup()

    def ask(self, twin: "subprocess.Popen[str]", command: object) -> None:
        assert twin.stdin is not None
        twin.stdin.write(json.dumps(command) + "\n")
        twin.stdin.flush()

    def answer(self, twin: "subprocess.Popen[str]") -> Any:
        assert twin.stdout is not None
        line = twin.stdout.readline()
        assert line, "an interpreter has died, and said why on stderr"
        return json.loads(line)

    def tell(self, *command: object) -> None:
        """Have both obey, and compare."""
        for twin in self.twins:
            self.ask(twin, command)
        stock, ours = map(self.answer, self.twins)
        assert ours == stock
        type(self).steps += 1

    def import_all(self, names: Sequence[str]) -> None:
        self.tell("purge", NAMES)
        for name in names:
            self.tell("import_module", name)

    # -- what a program does

    @rule(name=st.sampled_from(NAMES))
    def import_module(self, name: str) -> None:
        self.tell("import_module", name)

    @rule(statement=st.sampled_from(STATEMENTS))
    def run(self, statement: str) -> None:
        self.tell("run", statement)

    @rule(name=st.sampled_from(NAMES))
    def import_anew(self, name: str) -> None:
        self.tell("purge", [name])
        self.tell("import_module", name)

    @rule(names=st.permutations(NAMES))
    def import_all_anew(self, names: list[str]) -> None:
        self.import_all(names)

    @rule(name=st.sampled_from(NAMES))
    def reload(self, name: str) -> None:
        self.tell("reload", name)

    @rule(name=st.sampled_from(NAMES))
    def find_spec(self, name: str) -> None:
        self.tell("find_spec", name)

    @rule(names=st.sets(st.sampled_from(NAMES), min_size=1))
    def purge(self, names: set[str]) -> None:
        self.tell("purge", sorted(names))

    # -- what happens to the path and to the hooks

    @rule(at=st.integers(0, 3), item=st.sampled_from(ITEMS), absolute=st.booleans())
    def insert_into_the_path(self, at: int, item: str, absolute: bool) -> None:
        self.path.insert(at, f"{self.root}/{item}" if absolute and item else item)
        self.tell("set_path", self.path)

    @rule(at=st.integers(0, 3))
    def remove_from_the_path(self, at: int) -> None:
        del self.path[at : at + 1]
        self.tell("set_path", self.path)

    @rule(data=st.data())
    def reorder_the_path(self, data: st.DataObject) -> None:
        self.path = data.draw(st.permutations(self.path))
        self.tell("set_path", self.path)

    @rule(folder=st.sampled_from(("", *FOLDERS)))
    def chdir(self, folder: str) -> None:
        self.tell("chdir", f"{self.root}/{folder}")

    @rule()
    def invalidate_caches(self) -> None:
        self.tell("invalidate")

    @rule(
        first=st.lists(st.sampled_from(NAMES), max_size=1),
        last=st.lists(st.sampled_from(NAMES), max_size=1),
    )
    def set_finders(self, first: list[str], last: list[str]) -> None:
        self.tell("set_finders", first, last)

    @rule(
        claimed=st.dictionaries(st.sampled_from(FOLDERS), st.sampled_from(NAMES), max_size=1),
        source_only=st.lists(st.sampled_from(FOLDERS), max_size=1),
    )
    def set_hooks(self, claimed: dict[str, str], source_only: list[str]) -> None:
        by_item = {f"{self.root}/{each}": name for each, name in claimed.items()}
        self.tell("set_hooks", by_item, [f"{self.root}/{each}" for each in source_only])

    @rule(
        between=st.lists(st.sampled_from(NAMES), max_size=2),
        kind=st.sampled_from(("claims", "raises", "imports", "is removed")),
    )
    def set_finders_between(self, between: list[str], kind: str) -> None:
        """Before `PathFinder`, and after overlay's finder."""
        self.tell("set_finders_between", between, kind)

    @rule(follower=st.sampled_from(("PathFinder", "a subclass", "none")))
    def set_follower(self, follower: str) -> None:
        """What stands where `PathFinder` does."""
        self.tell("set_follower", follower)

    @rule(patches=st.sets(st.sampled_from(PATCHES), max_size=2))
    def patch(self, patches: set[str]) -> None:
        """Have parts of importlib tell that they are called, and all others be stock's again."""
        self.tell("patch", sorted(patches))

    @rule(name=st.sampled_from(NAMES), part=st.sampled_from(PATCHES))
    def patch_before_it_loads(self, name: str, part: str) -> None:
        self.tell("purge", [name])
        self.tell("load_patched", name, part)

    @rule(
        item=st.sampled_from((*FOLDERS, "lib/pkg", "second/")),
        edit=st.sampled_from(("drop", "none", "method", "loader", "claims")),
    )
    def edit_the_cache(self, item: str, edit: str) -> None:
        self.tell("edit_cache", f"{self.root}/{item}", edit)

    @rule()
    def clear_the_cache(self) -> None:
        self.tell("clear_cache")

    @rule()
    def begin_again(self) -> None:
        """All as it was at first, but that nothing is older than it is."""
        self.clock.tick()
        for folder in FOLDERS:
            shutil.rmtree(self.root / folder)
        self.write_frozen()
        self.clock.settle(self.root)
        self.path = [f"{self.root}/lib", f"{self.root}/second"]
        self.tell("set_path", self.path)
        self.tell("patch", [])
        self.tell("set_finders", [], [])
        self.tell("set_hooks", {}, [])
        self.import_all(NAMES)

    # -- what happens to files

    folders = st.sampled_from(("lib", *FOLDERS))
    stems = st.sampled_from(STEMS)

    def changed(self, *renewed: Path) -> None:
        self.clock.settle(*renewed)
        if self.order:
            self.import_all(self.order)

    def write(self, path: Path, content: bytes, time: int | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        now = self.clock.tick()
        os.utime(path, (time or now, time or now))
        self.changed()

    def value(self) -> str:
        """As long as that which is frozen, and another each time."""
        return f"{self.clock.now // 10 % 100_000:05}"

    @rule(folder=folders, stem=stems, addition=st.sampled_from([*ADDITIONS]))
    def edit(self, folder: str, stem: str, addition: str) -> None:
        text = TEXT.format(self.value()) + ADDITIONS[addition]
        self.write(self.root / folder / f"{stem}.py", text.encode())

    @rule(path=st.sampled_from([*FROZEN]))
    def edit_to_the_same_size(self, path: str) -> None:
        self.write(self.root / path, FROZEN[path].replace("first", self.value()).encode())

    @rule(path=st.sampled_from([*FROZEN]))
    def put_back(self, path: str) -> None:
        """What was frozen, with the time that it had."""
        file = self.root / path
        self.write(file, FROZEN[path].encode(), TIMES.get(path, BEGINNING))

    @rule(path=st.sampled_from([*FROZEN]))
    def touch(self, path: str) -> None:
        file = self.root / path
        if file.exists():
            os.utime(file, (self.clock.tick(), self.clock.now))
            self.changed()

    @rule(path=st.sampled_from([*FROZEN]), time=st.sampled_from((1, ZIP, NPM)))
    def give_the_time_of_all_files(self, path: str, time: int) -> None:
        file = self.root / path
        if file.exists():
            os.utime(file, (time, time))
            self.changed()

    @rule(path=st.sampled_from([*TIMES]))
    def edit_and_keep_a_time_that_says_nothing(self, path: str) -> None:
        text = FROZEN[path].replace("first", self.value())
        self.write(self.root / path, text.encode(), TIMES[path])

    @rule(sets_back=st.booleans())
    def write_folders_in_the_past(self, sets_back: bool) -> None:
        """From now on, as an archive does that has the times of its folders; or no longer."""
        self.clock.sets_back = sets_back

    @rule(
        source=st.sampled_from(FOLDERS),
        to=st.sampled_from(FOLDERS),
        how=st.sampled_from(("cp -a", "tar", "anew")),
    )
    def copy_over(self, source: str, to: str, how: str) -> None:
        """Copy a folder's content, with all times, over another, or in its place."""
        if source == to:
            return
        self.clock.tick()
        if how == "anew":
            shutil.rmtree(self.root / to)
        if how == "tar":
            archive = self.root.with_suffix(".tar")
            with tarfile.open(archive, "w") as packed:
                packed.add(self.root / source, to)
            with tarfile.open(archive) as packed:
                packed.extractall(self.root, filter="fully_trusted")
        else:
            shutil.copytree(self.root / source, self.root / to, dirs_exist_ok=True)
        self.changed(self.root / to)

    @rule(folder=st.sampled_from(FOLDERS))
    def replace_by_a_copy(self, folder: str) -> None:
        """Another folder with the same content, while the old one may be the current one."""
        self.clock.tick()
        old = self.root.with_name(f"old {self.clock.now}")
        (self.root / folder).rename(old)
        shutil.copytree(old, self.root / folder)
        self.changed(self.root / folder)

    @rule(to=st.sampled_from(FOLDERS))
    def switch_the_link(self, to: str) -> None:
        self.clock.tick()
        link = self.root / "link"
        link.unlink()
        link.symlink_to(to)
        self.changed(self.root / to)

    @rule(copy=st.booleans())
    def touch_the_registry(self, copy: bool) -> None:
        if copy:
            copied = self.registry.with_suffix(".copy")
            shutil.copyfile(self.registry, copied)
            copied.replace(self.registry)
        os.utime(self.registry, (self.clock.tick(), self.clock.now))

    @rule(folder=folders, stem=stems)
    def delete(self, folder: str, stem: str) -> None:
        self.clock.tick()
        (self.root / folder / f"{stem}.py").unlink(missing_ok=True)
        self.changed()

    @rule(folder=folders, package=st.sampled_from(("m", "pkg", "pkg/inner", "pkg/sub", "space")))
    def remove_folder(self, folder: str, package: str) -> None:
        self.clock.tick()
        shutil.rmtree(self.root / folder / package, ignore_errors=True)
        self.changed()

    @rule(folder=folders, package=st.sampled_from(("m", "n", "pkg/inner", "pkg/sub", "space")))
    def make_folder(self, folder: str, package: str) -> None:
        self.clock.tick()
        (self.root / folder / package).mkdir(parents=True, exist_ok=True)
        self.changed()

    @rule(folder=folders, stem=st.sampled_from(("m", "n", "pkg/sub", "space/portion")))
    def turn_into_a_package(self, folder: str, stem: str) -> None:
        module = self.root / folder / f"{stem}.py"
        if module.exists():
            content = module.read_bytes()
            module.unlink()
            self.write(module.with_suffix("") / "__init__.py", content)

    @rule(folder=folders, stem=st.sampled_from(("m", "pkg/sub", "pkg/inner", "space")))
    def turn_into_a_module(self, folder: str, stem: str) -> None:
        package = self.root / folder / stem
        if (package / "__init__.py").exists():
            content = (package / "__init__.py").read_bytes()
            shutil.rmtree(package)
            self.write(package.with_suffix(".py"), content)

    @rule(folder=folders, stem=stems, suffix=st.sampled_from(EXTENSION_SUFFIXES))
    def put_an_extension_beside(self, folder: str, stem: str, suffix: str) -> None:
        """One that no interpreter loads, which is told in the words of the system."""
        self.write(self.root / folder / f"{stem}{suffix}", b"no library\n")

    @rule(folder=folders, stem=stems, suffix=st.sampled_from(EXTENSION_SUFFIXES))
    def remove_the_extension(self, folder: str, stem: str, suffix: str) -> None:
        self.clock.tick()
        (self.root / folder / f"{stem}{suffix}").unlink(missing_ok=True)
        self.changed()

    @rule(folder=folders, stem=stems, keep=st.booleans())
    def compile_beside(self, folder: str, stem: str, keep: bool) -> None:
        """Bytecode where older programs have it, with its source or alone."""
        source = self.root / folder / f"{stem}.py"
        if not source.exists():
            return
        try:
            py_compile.compile(str(source), cfile=f"{source}c", doraise=True)
        except py_compile.PyCompileError:
            return
        os.utime(f"{source}c", (self.clock.tick(), self.clock.now))
        if not keep:
            source.unlink()
        self.changed()


@pytest.mark.long
@pytest.mark.usefixtures("processes")
def test_overlay_gives_what_stock_gives_whatever_happens() -> None:
    """Ten thousand steps with `--hypothesis-profile long`."""
    run_state_machine_as_test(
        OverlayMachine,
        settings=settings(max_examples=settings().max_examples // 6, stateful_step_count=50),
    )
    assert OverlayMachine.steps > OverlayMachine.served > 200
