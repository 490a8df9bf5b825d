"""The benchmark of boots: its parts do what its figures are taken to say."""

import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from conftest import Python, RunPython
from registries import build_registry, frozen

from frozenfinder.bench import ProcessError

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the benchmarks; they are not installed."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


IMPORTS = "import json.tool, email.message"
SERVED = """
import sys
sys.path.insert(0, sys.argv[1])
import floor
before = set(sys.modules)
floor.install(sys.argv[2])
print(len(set(sys.modules) - before))
import json.tool, email.message
found = [type(module.__loader__).__name__ for module in (json, json.decoder, email.message)]
print(*found, json.__path__, json.tool.__file__, email.message.__package__)
"""


def test_the_floor_serves_what_was_recorded(
    tmp_path: Path, python: Python, run_python: RunPython
) -> None:
    file = tmp_path / "floor.bin"
    python(BENCHMARKS / "floor.py", IMPORTS, file)
    added, found = run_python(SERVED, BENCHMARKS, file).stdout.splitlines()
    package = Path(json.__file__).parent
    expected = ["InMemory"] * 3 + [str([str(package)]), str(package / "tool.py"), "email"]
    assert (added, found) == ("0", " ".join(expected))


def test_the_zip_file_has_the_code_of_the_registry(
    tmp_path: Path, load: Any, run_python: RunPython
) -> None:
    registry = tmp_path / "p.frz"
    part = frozen("pkg.part", "value = 3")
    registry.write_bytes(build_registry(frozen("pkg", "", is_package=True), part))
    load("sides").write_zip(registry, tmp_path / "stored.zip")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import pkg.part; print(pkg.part.value)"
    assert run_python(code, tmp_path / "stored.zip").stdout == "3\n"


def test_every_look_at_a_file_takes_a_millisecond_more(tmp_path: Path, load: Any) -> None:
    measures, sides = load("measures"), load("sides")
    try:
        slow = measures.build_slow_files(tmp_path)
    except sides.Unavailable as reason:
        pytest.skip(str(reason))
    code = (
        "import os, time; begin = time.perf_counter()\n"
        "for _ in range(50): os.stat('/'); os.close(os.open('/', 0)); os.listdir('/')\n"
        "print(time.perf_counter() - begin, 0)\n"
    )
    command = sides.Command([sys.executable, "-c", code], {})
    assert measures.boot(command, slow).imports > 0.150


def test_system_calls_are_counted(load: Any) -> None:
    if shutil.which("strace") is None:
        pytest.skip("there is no strace")
    measures, sides = load("measures"), load("sides")

    def count(code: str) -> dict[str, int]:
        try:
            counts: dict[str, int] = measures.count_calls(
                sides.Command([sys.executable, "-c", code], {})
            )
        except ProcessError as error:
            pytest.skip(f"strace cannot be used here: {error}")
        return counts

    less, more = count("import os"), count("import os\nfor _ in range(500): os.stat('/')")
    assert 500 <= more["files"] - less["files"] < 520


FIGURES = {
    "machine": {"python": "3.13.0", "system": "S", "processor": "P", "cpus": 2, "load": 0.5},
    "pairs": 2,
    "nothing": {"all": 100, "files": 50},
    "workloads": {
        "one": {
            "imports": "import one",
            "unavailable": {"pycds": "has no release for this version"},
            "warm": {
                side: {
                    "imports": [factor, factor],
                    "wall": [2 * factor, 3 * factor],
                    "cpu": [factor, factor],
                    "served": [20, 20],
                }
                for side, factor in {"stock": 1.0, "overlay": 0.8, "floor": 0.5, "run": 0.6}.items()
            },
            "calls": {"stock": {"all": 400, "files": 250}, "overlay": {"all": 200, "files": 90}},
            "cold": {"unavailable": "the page cache cannot be emptied here"},
        }
    },
}


def test_the_page_shows_what_was_measured(tmp_path: Path, load: Any) -> None:
    folder = tmp_path / "speed"
    folder.mkdir()
    (folder / "cpython-313.json").write_text(json.dumps(FIGURES))
    written = list(load("speed_page").write(folder))
    assert [path.name for path in written] == [
        "cpython-313-imports.svg",
        "cpython-313-wall.svg",
        "speed.md",
    ]
    page = (tmp_path / "speed.md").read_text("utf-8")
    assert "| one | 1000.0 | 0.80 (0.80 to 0.80) |  | 0.50 (0.50 to 0.50) |  |  |" in page
    assert "| one | 400 / 250 / 10.0 | 200 / 90 / 2.0 |  |  |" in page
    assert "| overlay over floor, imports, worst | at most 1.35 | 1.60 |" in page
    assert "- `pycds`: has no release for this version" in page
    assert "page cache empty" not in page
    bars = ET.parse(folder / "cpython-313-imports.svg").findall(".//{*}g/{*}title")
    assert [bar.text for bar in bars] == [
        "one, frozenfinder, overlay: 0.80 (0.80 to 0.80)",
        "one, code objects in memory: 0.50 (0.50 to 0.50)",
    ]


def test_the_command_says_which_workloads_there_are(python: Python) -> None:
    done = python(BENCHMARKS / "speed.py", "absent", check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("error: unknown workloads: absent\n")
