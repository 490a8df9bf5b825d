"""The benchmark of boots: its parts do what its figures are taken to say."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from support.processes import Python, RunPython
from support.registries import build_registry, frozen

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


@pytest.mark.usefixtures("processes")
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


@pytest.mark.usefixtures("processes")
@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="there is no posix_spawn")
def test_memory_is_that_of_the_process_alone(load: Any) -> None:
    """Whatever the process has that measures it."""
    ballast = b"x" * 200_000_000

    def measure(code: str) -> int:
        argv = [sys.executable, "-c", f"{code}; print(0, 0)"]
        memory: int = load("measures").boot(load("sides").Command(argv, {})).memory
        return memory

    assert measure("pass") < 100_000 < measure("b'x' * 150_000_000") < len(ballast) / 1000


@pytest.mark.usefixtures("processes")
@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="there is no posix_spawn")
def test_a_side_that_fails_is_an_error(load: Any) -> None:
    command = load("sides").Command([sys.executable, "-c", "exit('wrong')"], {})
    with pytest.raises(ProcessError, match="exit status 1: wrong"):
        load("measures").boot(command)


LEFT_OFF = """
import sys
from frozenfinder import install
finder = install(sys.argv[1], mode="closed")
windows = finder.registry._index_window, finder.registry._blob_window, finder.registry._boot_window
print(*[window._size for window in windows])
import pkg.part
print(finder.served)
"""


@pytest.mark.parametrize(
    ("without", "windows"),
    [("", "65536 16384 262144"), ("read-ahead", "16384 16384 16384"), ("windows", "0 0 0")],
)
def test_reading_ahead_can_be_left_off(
    without: str, windows: str, tmp_path: Path, python: Python
) -> None:
    registry = tmp_path / "p.frz"
    part = frozen("pkg.part", "value = 3")
    registry.write_bytes(build_registry(frozen("pkg", "", is_package=True), part))
    done = python("-c", LEFT_OFF, registry, env={"FROZENFINDER_WITHOUT": without})
    assert done.stdout == f"{windows}\n2\n"


@pytest.mark.usefixtures("processes")
def test_every_trick_can_be_left_off(tmp_path: Path, load: Any) -> None:
    sides, tricks = load("sides"), load("tricks")
    builder = sides.Build(sides.Workload("import colorsys"), tmp_path)
    freeze = [sys.executable, "-m", "frozenfinder", "freeze", "--quiet", "--package=colorsys"]
    for name in ("registry", "unordered", "one_shard"):
        registry = tmp_path / f"{name}.frz"
        subprocess.run([*freeze, "-o", registry], check=True)
        vars(builder)[name] = registry
    for trick in (*tricks.TRICKS, *tricks.CHECKS):
        assert load("measures").boot(builder.make_without(trick)).served == 1, trick.name


@pytest.mark.usefixtures("processes")
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


SIDES = {"stock": 1.0, "overlay": 0.8, "floor": 0.5, "run --fast-exit=off": 0.6, "run": 0.4}
WITHOUT = {"overlay": 1.0, "patterns": 1.5, "order": 3.0, "shards": 1.0, "attributes": 1.0}
WITHOUT |= {"windows": 1.0, "read-ahead": 1.0, "collector": 1.0, "digest": 0.75, "stat": 1.0}
WITHOUT |= {"extras": 1.5}
FIGURES = {
    "machine": {"python": "3.13.0", "system": "S", "processor": "P", "cpus": 2, "load": 0.5},
    "pairs": 2,
    "nothing": {"all": 100, "files": 50},
    "costs": {
        "install": {"json": [2.0, 2.0], "small": [1.0, 1.0], "large": [1.25, 1.25]},
        "start": {"stock": 10.0, "enabled": 12.0},
        "lock": {"without": 100.0, "outermost": 700.0, "nested": 400.0},
    },
    "workloads": {
        "one": {
            "imports": "import one",
            "unavailable": {"pycds": "has no release for this version"},
            "warm": {
                side: {
                    "imports": [factor, factor],
                    "wall": [2 * factor, 3 * factor],
                    "cpu": [factor, factor],
                    "memory": [int(10240 * factor)] * 2,
                    "served": [20, 20],
                }
                for side, factor in SIDES.items()
            },
            "unmarshal": [0.1, 0.1],
            "tricks": {name: {"imports": [factor, factor]} for name, factor in WITHOUT.items()},
            "instructions": {"stock": 2_000_000, "overlay": 1_000_000, "patterns": 1_250_000},
            "calls": {
                "stock": {"all": 400, "files": 250},
                "overlay": {"all": 200, "files": 90},
                "floor": {"all": 150, "files": 60},
                "windows": {"all": 300, "files": 180},
            },
            "cold": {"unavailable": "the page cache cannot be emptied here"},
        }
    },
}


MARKED = """\
# Words

<!-- table: {} -->

an old table
<!-- end of table -->

more words
"""


def write_pages(tmp_path: Path, load: Any, figures: Any, *tables: str) -> list[Path]:
    """Write figures of 3.13 and the pages of them: its own, and three with marked tables."""
    folder = tmp_path / "docs" / "explanation" / "speed"
    folder.mkdir(parents=True)
    (folder / "cpython-313.json").write_text(json.dumps(figures))
    marked = "".join(MARKED.format(name) for name in tables)
    (folder.parent / "speed.md").write_text(marked)
    (folder.parent / "bundles.md").write_text(MARKED.format("bundles"))
    (tmp_path / "README.md").write_text(MARKED.format("first"))
    pages: list[Path] = list(load("speed_page").write(folder))
    assert pages == [
        folder / "cpython-313.md",
        folder.parent / "speed.md",
        folder.parent / "bundles.md",
        tmp_path / "README.md",
    ]
    return pages


def test_the_page_shows_what_was_measured(tmp_path: Path, load: Any) -> None:
    page = write_pages(tmp_path, load, FIGURES)[0].read_text("utf-8")
    assert page.index("### The whole process, files in memory") < page.index("### The imports")
    assert "| one | 1000.0 | 0.80 (0.80 to 0.80) | 0.50 (0.50 to 0.50) |\n" in page
    assert "| one | 400 / 250 / 10.0 | 200 / 90 / 2.0 |  | 150 / 60 / 0.5 |  |" in page
    assert "| the same without those of `floor` | at most 1.20 | 1.50 |" in page
    memory = "| one | 10.0 | 0.80 (0.80 to 0.80) | 0.60 (0.60 to 0.60) | 0.40 (0.40 to 0.40) |"
    assert memory in page
    assert "`FROZENFINDER_WITHOUT=patterns` | 1.50 (1.50 to 1.50) / 1.250 |" in page
    assert "`FROZENFINDER_WITHOUT=windows` | 1.00 (1.00 to 1.00) / 2.00 |" in page
    assert "`FROZENFINDER_WITHOUT=texts` |  |" in page, "not measured yet"
    assert "both without `patterns,texts` | 2.00 (2.00 to 2.00) |" in page
    assert "| one | 1000.0 | 500.0 | 100.0 | 200.0 | 200.0 |" in page
    assert "| the import lock, for a module | 600 ns |" in page
    assert "| `run`, whole process, median | at most 0.66 | 0.40 |" in page
    assert "| import and install, 100,000 over 100 | at most 1.10 | 1.25 |" in page
    assert "| `python -c pass` with a registry enabled | at most 0.5 ms more | 2.0 ms |" in page
    assert (
        "| overlay, calls on files for each served module, median | at most 1.20 | 2.00 |" in page
    )
    assert "| overlay over floor, imports, worst | at most 1.35 | 1.60 |" in page
    assert "- `pycds`: has no release for this version" in page
    assert "page cache empty" not in page


def make_workload(factor: float) -> Any:
    """What was measured of a workload of which overlay takes `factor` of stock."""
    rounds = {
        side: {field: [each, each] for field in ("wall", "imports", "cpu", "memory")}
        for side, each in (("stock", 1.0), ("overlay", factor))
    }
    return {"unavailable": {}, "warm": rounds, "no-pyc": rounds}


def test_marked_tables_sum_the_workloads_up_and_the_words_around_them_stay(
    tmp_path: Path, load: Any
) -> None:
    workloads = {str(factor): make_workload(factor) for factor in (0.25, 0.5, 1.0)}
    figures = FIGURES | {"workloads": workloads}
    _, page, bundles, readme = write_pages(tmp_path, load, figures, "imports", "commands")
    table = (
        "|  | `overlay` |\n|---|---|\n"
        "| 3 imports, files in memory, 3.13: median | 0.50 (0.25 to 1.00) |\n"
        "| 3 imports, no `.pyc` files, 3.13: median | 0.50 (0.25 to 1.00) |\n"
    )
    expected = MARKED.replace("an old table\n", "{}\n")
    imports = expected.format("imports", table)
    assert page.read_text() == imports + MARKED.format("commands")
    assert bundles.read_text() == MARKED.format("bundles")
    assert readme.read_text() == expected.format("first", table)


PROGRAM = {
    "unavailable": {"pex": "fails: exit status 1: no"},
    "sizes": {"bundle": 3_100_000, "shiv": 700_000},
    "compiled": {
        side: {"wall": [each, each], "cpu": [each, each], "first": each}
        for side, each in (("stock", 1.0), ("run", 0.5), ("bundle", 2.0), ("shiv", 4.0))
    },
}


def test_commands_are_summed_up_by_their_geometric_means(tmp_path: Path, load: Any) -> None:
    slow = {side: each | {"wall": [2.0, 2.0]} for side, each in PROGRAM["compiled"].items()}  # type: ignore[attr-defined]
    programs = {"one": PROGRAM, "two": PROGRAM | {"compiled": slow, "sizes": {}}}
    commands = {"machine": FIGURES["machine"], "rounds": 2, "programs": programs}
    figures = {"workloads": {}, "commands": commands}
    whole, page, bundles, readme = write_pages(tmp_path, load, figures, "commands")
    mean = "| 2 commands, every `.pyc` file is there, 3.13: geometric mean | 0.71 (0.50 to 1.00) |"
    assert f"{mean} 1.41 (1.00 to 2.00) | 2.00 (1.00 to 4.00) |\n" in page.read_text()
    assert f"{mean}\n" in readme.read_text()
    row = "| one, 3.13 | 3.1 | 0.7 | 2.00 (2.00 to 2.00) | 0.50 (0.50 to 0.50) |\n"
    assert row in bundles.read_text()
    text = whole.read_text()
    assert "| one | 1000.0 | 0.50 (0.50 to 0.50) | 2.00 (2.00 to 2.00) |" in text
    assert "- `pex`: fails: exit status 1: no\n" in text
    assert "| commands, `bundle`, worst | at most 1.00 | 2.00 |" in text


def test_a_mark_of_a_table_that_does_not_exist_is_an_error(tmp_path: Path, load: Any) -> None:
    with pytest.raises(KeyError, match="absent"):
        write_pages(tmp_path, load, FIGURES, "absent")


def test_the_pages_show_the_figures_that_are_there(load: Any) -> None:
    """Whoever changes the words of a table, or a figure, writes the pages anew."""
    folder = BENCHMARKS.parent / "docs" / "explanation" / "speed"
    page = load("speed_page")
    tables = page.read_tables(folder)
    for file in page.find_marked(folder):
        text = file.read_text("utf-8")
        assert page.fill(text, tables) == text, file.name


def draw_plots(folder: Path, load: Any) -> dict[str, bytes]:
    pytest.importorskip("matplotlib", reason="the speed environments draw the plots")
    folder.mkdir()
    (folder / "cpython-313.json").write_text(json.dumps(FIGURES))
    return {path.name: path.read_bytes() for path in load("speed_plots").write(folder)}


def test_a_plot_names_what_it_shows_in_text(tmp_path: Path, load: Any) -> None:
    plots = draw_plots(tmp_path / "speed", load)
    assert list(plots) == ["cpython-313-wall.svg", "cpython-313-imports.svg"]
    imports = ET.fromstring(plots["cpython-313-imports.svg"])
    assert imports.findtext("{*}title") == (
        "Time of the imports, files in memory, Python 3.13.0: ratios to stock"
    )
    assert {"one", "overlay", "floor"} <= read_words(imports)
    assert "run --fast-exit=off" in read_words(ET.fromstring(plots["cpython-313-wall.svg"]))


def test_the_same_figures_give_the_same_plots(tmp_path: Path, load: Any) -> None:
    plots = draw_plots(tmp_path / "one", load)
    assert plots == draw_plots(tmp_path / "two", load)


def read_words(plot: ET.Element) -> set[str | None]:
    return {each.text for each in plot.iterfind(".//{*}text")}


def test_the_plots_of_the_page_show_every_workload_and_side(load: Any) -> None:
    page = load("speed_page")
    plotted = {"imports": page.IMPORT_SIDES, "wall": page.WHOLE_SIDES}
    for file in BENCHMARKS.parent.glob("docs/explanation/speed/*.json"):
        workloads = json.loads(file.read_text("utf-8"))["workloads"]
        measured = {side for each in workloads.values() for side in each["warm"]}
        for field, sides in plotted.items():
            words = read_words(ET.parse(file.with_name(f"{file.stem}-{field}.svg")).getroot())
            shown = measured.intersection(sides)
            assert {*workloads, *shown} - words == set(), (file.stem, field)


@pytest.mark.usefixtures("processes")
@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="there is no posix_spawn")
def test_what_is_not_measured_anew_stays(
    tmp_path: Path, load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    speed, sides = load("speed"), load("sides")
    monkeypatch.setattr(speed, "WORKLOADS", {"one": sides.Workload("import colorsys")})
    monkeypatch.setattr(speed, "SIDES", ("stock", "floor"))
    write_pages(tmp_path, load, FIGURES)
    output = tmp_path / "docs" / "explanation" / "speed"
    file = output / f"{sys.implementation.cache_tag}.json"
    file.write_text(json.dumps(FIGURES))
    options = ["--only", "warm", "--pairs=3", f"--work={tmp_path}", f"--output={output}"]
    monkeypatch.setattr(sys, "argv", ["speed.py", *options])
    speed.main()
    figures = json.loads(file.read_text("utf-8"))
    one = figures["workloads"]["one"]
    assert figures["pairs"] == 3
    assert list(one["warm"]) == ["stock", "floor"]
    assert len(one["warm"]["floor"]["memory"]) == 3
    assert one["calls"] == FIGURES["workloads"]["one"]["calls"]  # type: ignore[index]
    assert "| one |" in file.with_suffix(".md").read_text("utf-8")


def test_no_folder_of_a_machine_is_written_down(tmp_path: Path, load: Any) -> None:
    reason = f"[Errno 20] Not a directory: {tmp_path}{os.sep}stored.zip"
    file = tmp_path / "figures.json"
    load("measures").write({"unavailable": {"zip": reason}}, file, [tmp_path])
    shown = json.loads(file.read_text("utf-8"))["unavailable"]["zip"]
    assert shown == "[Errno 20] Not a directory: stored.zip"


def test_the_command_says_which_workloads_there_are(python: Python) -> None:
    done = python(BENCHMARKS / "speed.py", "absent", check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("error: unknown workloads: absent\n")
