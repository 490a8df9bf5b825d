"""The commands that look into a registry, and how every command ends."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from support.processes import Python

from frozenfinder import __version__
from frozenfinder.cli import run
from frozenfinder.cli.commands import COMMANDS, load
from frozenfinder.runtime.hooks import default_registry
from frozenfinder.runtime.registry import Registry

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

FILES = {
    "m.py": "VALUE = 1\n",
    "package/__init__.py": "",
    "package/part.py": "'''A docstring.'''\n",
    "package/data.txt": "data\n",
    "space/portion.py": "",
}


def write_files(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def lib(tmp_path: Path) -> Path:
    return write_files(tmp_path / "lib", FILES)


@pytest.fixture
def registry(lib: Path, cli: Cli) -> Path:
    path = lib.parent / "lib.frz"
    done = cli("freeze", "--path", lib, "--with-source", "-o", path)
    assert (done.returncode, done.stderr) == (0, "")
    return path


def answer(done: "subprocess.CompletedProcess[str]", status: int = 0) -> Any:
    assert (done.returncode, done.stderr) == (status, "")
    return json.loads(done.stdout)


def assert_refused(done: "subprocess.CompletedProcess[str]", message: str) -> None:
    assert (done.stdout, done.stderr) == ("", f"frozenfinder: {message}\n")
    assert done.returncode == 2


# -- bad input

LOOKING = [("ls",), ("info",), ("verify",), ("why", "m", "--registry"), ("run",)]


def looking(command: tuple[str, ...], registry: Path) -> list[str | Path]:
    """The command line of a command that opens `registry`."""
    return [*command, registry, *(["-c", "print('ran')"] if command == ("run",) else [])]


@pytest.mark.parametrize("command", LOOKING, ids=lambda command: command[0])
class TestBadRegistry:
    """One line on stderr, nothing on stdout, exit status 2, and the file as it was."""

    @pytest.fixture(autouse=True)
    def _set_up(self, command: tuple[str, ...], cli: Cli, tmp_path: Path) -> None:
        self.path = tmp_path / "bad.frz"
        self.command = command
        self.cli = cli

    def check(self, message: str) -> None:
        before = self.path.read_bytes() if self.path.is_file() else None
        assert_refused(self.cli(*looking(self.command, self.path)), message)
        assert (self.path.read_bytes() if self.path.is_file() else None) == before

    def test_a_missing_file_is_refused(self) -> None:
        self.check(
            f"registry {str(self.path)!r} does not exist; check the path, or freeze one with: "
            f"{sys.executable} -m frozenfinder freeze --help"
        )

    def test_a_directory_is_refused(self) -> None:
        self.path.mkdir()
        self.check(f"registry {str(self.path)!r} is a directory, expected a registry file")

    def test_an_empty_file_is_refused(self) -> None:
        self.path.write_bytes(b"")
        self.check(f"registry {str(self.path)!r}: has 0 bytes, a registry has at least 320")

    def test_random_bytes_are_refused(self) -> None:
        self.path.write_bytes(b"0123456789" * 100)
        self.check(
            f"registry {str(self.path)!r}: begins with b'01234567', "
            r"a registry begins with b'\x93FRZ\r\n\x1a\n'"
        )

    def test_a_truncated_registry_is_refused(self, registry: Path) -> None:
        content = registry.read_bytes()
        self.path.write_bytes(content[:-1])
        self.check(
            f"registry {str(self.path)!r}: has {len(content) - 1} bytes, "
            f"its header says {len(content)}; freeze it again"
        )

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads it")
    def test_a_file_that_may_not_be_read_is_refused(self) -> None:
        self.path.write_bytes(b"")
        self.path.chmod(0)
        self.check(f"registry {str(self.path)!r} cannot be read: Permission denied")


@pytest.mark.parametrize("mode", ["overlay", "closed"])
def test_run_refuses_a_registry_of_another_interpreter(
    cli: Cli, registry: Path, mode: str, python: Python
) -> None:
    done = python(
        "-O", "-m", "frozenfinder", "run", "--mode", mode, registry, "-c", "1", check=False
    )
    assert_refused(
        done,
        f"registry {str(registry)!r} was frozen for optimisation level 0, this interpreter has 1; "
        f"freeze it again with {sys.executable} -O; 'frozenfinder info' shows how it was frozen",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], f"no command given, expected one of: {', '.join(COMMANDS)}"),
        (["frobnicate"], f"unknown command 'frobnicate', expected one of: {', '.join(COMMANDS)}"),
        (["why"], "the following arguments are required: NAME; see 'frozenfinder why --help'"),
        (["why", "a..b"], "'a..b' is not the name of a module; see 'frozenfinder why --help'"),
        (["ls", "--fast"], "unrecognized arguments: --fast; see 'frozenfinder ls --help'"),
        (["run"], "run needs FILE; see 'frozenfinder run --help'"),
        (["demo", "--pairs", "1"], "--pairs is 1, expected 2 or more"),
        (["freeze"], "nothing to freeze was given; see 'frozenfinder freeze --help'"),
        (
            ["freeze", "--stdlib", "-j", "0"],
            "argument -j/--jobs: '0' is not a positive number; see 'frozenfinder freeze --help'",
        ),
        (
            ["freeze", "--stdlib", "-O", "2"],
            "-O 2 needs -o FILE: the default registry is for this interpreter's level, 0",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_is_refused(cli: Cli, arguments: list[str], message: str) -> None:
    assert_refused(cli(*arguments), message)


# -- looking into a registry


def test_ls_lists_the_modules_by_table_and_name(cli: Cli, registry: Path) -> None:
    done = cli("ls", registry)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[1:] for row in rows] == [
        ["app", "source", "m"],
        ["app", "source", "package"],
        ["app", "source", "package.part"],
        ["app", "namespace", "space"],
        ["app", "source", "space.portion"],
    ]
    opened = Registry.open(registry)
    sizes = [entry.size for row in rows if (entry := opened.find_entry(row[3])) is not None]
    assert [int(row[0]) for row in rows] == sizes


def test_ls_lists_the_files(cli: Cli, registry: Path) -> None:
    assert cli("ls", "--files", registry).stdout.split() == ["5", "package/data.txt"]
    listed = answer(cli("ls", "--files", "--json", registry))
    assert [file["name"] for file in listed["files"]] == ["package/data.txt"]


def test_ls_tells_all_of_an_entry_in_json(cli: Cli, registry: Path, lib: Path) -> None:
    listed = answer(cli("ls", "--json", registry))
    assert listed["registry"] == str(registry)
    entry = next(entry for entry in listed["modules"] if entry["name"] == "package.part")
    status = (lib / "package" / "part.py").stat()
    assert entry | {"size": 0} == {
        "name": "package.part",
        "table": "app",
        "kind": "source",
        "package": False,
        "size": 0,
        "extras_size": 0,
        "root": 0,
        "path": "package/part.py",
        "mtime": int(status.st_mtime),
        "source_size": status.st_size,
        "with_source": True,
    }


def test_info_tells_what_the_registry_is_for(cli: Cli, registry: Path, lib: Path) -> None:
    facts = answer(cli("info", "--json", registry))
    assert facts["cache_tag"] == sys.implementation.cache_tag
    assert facts["size"] == registry.stat().st_size
    assert (facts["modules"], facts["packages"], facts["files"]) == (5, 2, 1)
    assert facts["kinds"] == {"namespace": 1, "source": 4}
    assert facts["tables"] == {"app": 5}
    assert facts["mismatch"] is None
    assert [(root["directory"], root["exists"]) for root in facts["roots"]] == [(str(lib), True)]


def test_info_says_why_the_interpreter_may_not_use_it(python: Python, registry: Path) -> None:
    done = python("-O", "-m", "frozenfinder", "info", registry)
    reason = "was frozen for optimisation level 0, this interpreter has 1"
    assert re.search(rf"^mismatch +registry {str(registry)!r} {reason}$", done.stdout, re.MULTILINE)


def test_info_says_that_a_root_is_gone(cli: Cli, registry: Path, lib: Path) -> None:
    lib.rename(lib.with_name("elsewhere"))
    assert "which does not exist: 5 modules, 1 files" in cli("info", registry).stdout


# -- verify


def test_verify_says_that_a_registry_is_intact(cli: Cli, registry: Path) -> None:
    done = cli("verify", registry)
    size = registry.stat().st_size
    checksum = sha256(registry.read_bytes()).hexdigest()
    expected = (
        f"registry {str(registry)!r} is intact: 5 modules, 1 files, {size} bytes, not signed\n"
        f"SHA-256 {checksum}\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


def damage(registry: Path, offset: int) -> None:
    content = bytearray(registry.read_bytes())
    content[offset] ^= 1
    registry.write_bytes(content)


def find_pieces(registry: Path) -> dict[str, int]:
    """The offset of a byte in each piece that has a digest of its own."""
    opened = Registry.open(registry)
    start = opened.header.sections["blobs"][0]
    entry, file = opened.find_entry("package.part"), opened.find_file("package/data.txt")
    assert entry is not None
    assert file is not None
    pieces = {
        f"section {name!r}": opened.header.sections[name][0]
        for name in ("roots", "modules", "files", "info")
    }
    opened.close()
    return {
        **pieces,
        "entry 'package.part'": start + entry.offset,
        "source of entry 'package.part'": start + entry.text_offset,
        "entry 'package/data.txt'": start + file.offset,
    }


def test_verify_lists_all_damage(cli: Cli, registry: Path) -> None:
    pieces = find_pieces(registry)
    blobs = [name for name in pieces if not name.startswith("section")]
    for name in blobs:
        damage(registry, pieces[name])
    done = cli("verify", registry)
    assert (done.returncode, done.stderr) == (1, "")
    assert len(done.stdout.splitlines()) == len(blobs)
    for name in blobs:
        pattern = (
            rf"^registry '.*': {re.escape(name)} at {pieces[name]} has digest [0-9a-f]{{16}}, "
            r"expected [0-9a-f]{16}; the file is damaged, freeze it again$"
        )
        assert re.search(pattern, done.stdout, re.MULTILINE)


@pytest.mark.parametrize("section", ["modules", "files", "info"])
def test_verify_finds_damage_in_a_section(cli: Cli, registry: Path, section: str) -> None:
    offset = find_pieces(registry)[f"section {section!r}"]
    damage(registry, offset)
    found = answer(cli("verify", "--json", registry), 1)
    assert found["intact"] is False
    assert [(each["entry"], each["offset"]) for each in found["damage"]] == [(None, offset)]
    assert f"section {section!r} at {offset} has digest" in found["damage"][0]["message"]


def test_verify_finds_damage_in_every_shard(cli: Cli, registry: Path) -> None:
    opened = Registry.open(registry)
    offset, size, _ = opened.header.sections["module_shards"]
    opened.close()
    damage(registry, offset + size - 1)
    found = answer(cli("verify", "--json", registry), 1)
    assert re.match(r".*: shard \d+ of section 'modules' at ", found["damage"][0]["message"])


@pytest.mark.parametrize("step", [97])
def test_verify_notices_every_byte(cli: Cli, registry: Path, step: int, python: Python) -> None:
    """Every so many bytes, the registry is damaged there: verify says so, and dies of none."""
    code = """
import contextlib, io, sys
from frozenfinder.__main__ import main
path, step = sys.argv[1], int(sys.argv[2])
content = open(path, "rb").read()
for at in range(0, len(content), step):
    with open(path, "wb") as file:
        file.write(content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1:])
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        status = main(["verify", path])
    if status == 0 or not told.getvalue():
        print(at, status, told.getvalue())
"""
    assert python("-c", code, registry, str(step)).stdout == ""


# -- why


def test_why_says_that_a_module_is_served(cli: Cli, registry: Path, lib: Path) -> None:
    done = cli("why", "package.part", "--registry", registry, cwd=lib)
    assert (done.returncode, done.stderr) == (0, "")
    path = lib / "package" / "part.py"
    where = f"registry {str(registry)!r}, overlay mode"
    assert done.stdout == f"package.part: served from {where}: {path}\n"


def explain(cli: Cli, registry: Path, name: str, cwd: Path, *options: str) -> Any:
    return answer(cli("why", name, "--json", "--registry", registry, *options, cwd=cwd))


def test_why_tells_it_in_json(cli: Cli, registry: Path, lib: Path) -> None:
    told = explain(cli, registry, "m", lib)
    assert told.pop("entry")["path"] == "m.py"
    assert told == {
        "name": "m",
        "registry": str(registry),
        "mode": "overlay",
        "served": True,
        "by": "registry",
        "origin": str(lib / "m.py"),
        "reason": None,
        "laziness": None,
    }


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("sys", "builtin"),
        ("os", "frozen"),
        ("json.decoder", "path"),
        ("absent", None),
        ("m.absent", None),
    ],
)
def test_why_says_who_supplies_a_module_instead(
    cli: Cli, registry: Path, name: str, by: str | None
) -> None:
    told = explain(cli, registry, name, registry.parent / "lib")
    assert (told["served"], told["by"]) == (False, by)
    assert told["reason"] == "the registry has no module of that name"


def test_why_gives_the_finders_own_reason(cli: Cli, registry: Path, lib: Path) -> None:
    path = lib / "m.py"
    before = path.stat().st_size
    path.write_text("VALUE = 'changed'\n")
    told = explain(cli, registry, "m", lib)
    assert (told["by"], told["origin"]) == ("path", str(path))
    assert told["reason"] == (
        f"its source {str(path)!r} has {path.stat().st_size} bytes, but was frozen with {before}"
    )


def test_why_says_that_another_module_shadows_it(cli: Cli, registry: Path, lib: Path) -> None:
    other = lib.parent / "other"
    other.mkdir()
    (other / "package.py").touch()
    env = {"PYTHONPATH": str(lib)}
    told = answer(cli("why", "package.part", "--json", "--registry", registry, cwd=other, env=env))
    assert (told["by"], told["served"]) == (None, False)
    assert told["reason"] == f"'package' is not a package: {other / 'package.py'}"
    told = answer(cli("why", "package", "--json", "--registry", registry, cwd=other, env=env))
    assert (told["by"], told["origin"]) == ("path", str(other / "package.py"))
    assert told["reason"] == f"{str(other)!r} comes before its root on the path and may supply it"


def test_why_imports_nothing(cli: Cli, registry: Path, lib: Path) -> None:
    (lib / "loud").mkdir()
    (lib / "loud" / "__init__.py").write_text("print('imported')\n")
    (lib / "loud" / "part.py").touch()
    told = explain(cli, registry, "loud.part", lib)
    assert (told["by"], told["origin"]) == ("path", str(lib / "loud" / "part.py"))


def test_why_finds_what_lies_below_a_namespace_package(cli: Cli, registry: Path, lib: Path) -> None:
    (lib / "space" / "deeper").mkdir()
    (lib / "space" / "deeper" / "leaf.py").touch()
    told = explain(cli, registry, "space.deeper.leaf", lib)
    assert (told["by"], told["origin"]) == ("path", str(lib / "space" / "deeper" / "leaf.py"))
    assert explain(cli, registry, "space", lib)["origin"] == str(lib / "space")
    assert explain(cli, registry, "space.portion", lib)["served"]


def test_why_in_closed_mode_needs_no_source(cli: Cli, registry: Path, lib: Path) -> None:
    lib.rename(lib.with_name("gone"))
    told = explain(cli, registry, "package.part", lib.parent, "--mode", "closed")
    assert (told["served"], told["origin"]) == (True, str(registry / "package" / "part.py"))


def test_why_says_that_frozenfinder_is_off(cli: Cli, registry: Path, lib: Path) -> None:
    done = cli("why", "m", "--json", "--registry", registry, cwd=lib, env={"FROZENFINDER": "off"})
    told = answer(done)
    assert (told["by"], told["reason"]) == ("path", "FROZENFINDER=off is set")


def test_why_says_that_the_registry_is_of_another_interpreter(
    python: Python, registry: Path, lib: Path
) -> None:
    done = python("-O", "-m", "frozenfinder", "why", "m", "--registry", registry, cwd=lib)
    where = f"registry {str(registry)!r}"
    assert done.stderr == ""
    assert done.stdout == (
        f"m: found on the path: {lib / 'm.py'}\n"
        f"  not from {where}, overlay mode: {where} was frozen for optimisation level 0, "
        "this interpreter has 1\n"
    )


# -- the default registry


def test_commands_look_into_the_default_registry(cli: Cli, registry: Path) -> None:
    env = {"FROZENFINDER_REGISTRY": str(registry)}
    for command in (["ls"], ["info"], ["verify"], ["why", "m"]):
        done = cli(*command, env=env)
        assert (done.returncode, str(registry) in done.stdout or command == ["ls"]) == (0, True)


def test_a_missing_default_registry_is_told_with_the_command_that_makes_it(cli: Cli) -> None:
    path = default_registry()
    if Path(path).exists():
        pytest.skip(f"{path} exists")
    assert_refused(
        cli("ls"),
        f"there is no default registry {path!r}; make one with: "
        f"{sys.executable} -m frozenfinder freeze --stdlib -o {path}",
    )


# -- every command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps(cli: Cli, command: str) -> None:
    done = cli(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: frozenfinder {command} ")


def test_help_lists_the_commands(cli: Cli) -> None:
    done = cli("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^  ([\w-]+) +\w", done.stdout, re.MULTILINE) == list(COMMANDS)


def test_the_version_is_told(cli: Cli) -> None:
    assert cli("--version").stdout == f"frozenfinder {__version__}\n"


@pytest.mark.skipif(os.name != "posix", reason="a pipe that nobody reads")
def test_a_reader_that_leaves_early_is_no_error(registry: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "frozenfinder", "ls", str(registry)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_interrupt_ends_a_command_quietly(python: Python) -> None:
    code = """
import sys
from frozenfinder.__main__ import main
from frozenfinder.cli import ls
def interrupt(options):
    raise KeyboardInterrupt
ls.main = interrupt
sys.exit(main(["ls"]))
"""
    done = python("-c", code, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


# -- the reference page

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "cli.md"


def read_section(command: str) -> str:
    return PAGE.read_text(encoding="utf-8").partition(f"\n## {command}\n")[2].partition("\n## ")[0]


def read_terms(command: str) -> set[str]:
    """The terms of the section's definition lists."""
    lines = re.findall(r"^(`.+`)\n: ", read_section(command), re.MULTILINE)
    return {term for line in lines for term in re.findall(r"`([^`]+)`", line)}


def is_argument(term: str) -> bool:
    return term.startswith("-") or term.isupper()


def find_arguments(command: str) -> set[str]:
    """What the command's own help calls its arguments."""
    if command == "run":
        found = re.findall(r"^  ((?:-|[A-Z])\S*(?: \S+)*)", run.USAGE, re.MULTILINE)
        return set(found) - {"-h, --help"}
    terms = set()
    for action in load(command).make_parser()._actions:
        names = ", ".join(action.option_strings)
        value = action.metavar
        if action.choices is not None:
            value = "{" + ",".join(map(str, action.choices)) + "}"
        terms.add(f"{names} {value}" if names and value else names or str(value))
    return terms - {"-h, --help"}


def find_keys(value: object, prefix: str = "") -> set[str]:
    """The keys of an answer, those of the objects in its lists too."""
    if isinstance(value, dict):
        keys = {prefix + key for key in value}
        return keys.union(
            *(find_keys(each, f"{prefix}{key}[].") for key, each in value.items() if each)
        )
    if isinstance(value, list):
        return set().union(*(find_keys(each, prefix) for each in value if isinstance(each, dict)))
    return set()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_has_the_arguments_of_each_command(command: str) -> None:
    assert set(filter(is_argument, read_terms(command))) == find_arguments(command)


@pytest.mark.parametrize(
    "command", [("ls",), ("info",), ("verify",), ("why", "m", "--registry")], ids=lambda c: c[0]
)
def test_the_reference_has_the_keys_of_each_answer(
    cli: Cli, registry: Path, command: tuple[str, ...]
) -> None:
    if command == ("verify",):
        damage(registry, find_pieces(registry)["entry 'package.part'"])
    told = json.loads(cli(*command, registry, "--json").stdout)
    keys = find_keys({key: value for key, value in told.items() if isinstance(value, list)})
    documented = {term for term in read_terms(command[0]) if not is_argument(term)}
    assert keys | set(told) == documented
