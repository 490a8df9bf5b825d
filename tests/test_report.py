"""Reports: what a freeze tells of each package and of its imports, in three forms."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.browser import measure_widths
from support.sources import write_tree
from test_cli import Cli

from frozenfinder.cli.freeze import tabulate
from frozenfinder.freezer import Manifest, Omission, Report, Share, discover, freeze
from frozenfinder.freezer.page import format_page

FILES = {
    "small.py": "",
    "big/__init__.py": f"TEXT = {'x' * 5000!r}\n",
    "big/part.py": "",
    "big/data.txt": "12345",
    "other.txt": "1",
    "broken.py": "def",
}
REPORT = Report(
    output="/x/<app>.frz",
    size=12345,
    modules=3,
    files=1,
    compiled=1,
    from_pyc=1,
    reused=1,
    written=True,
    seconds=1.25,
    omitted=(Omission("broken", "/x/broken.py", "does not compile"),),
    excluded=(Omission("tests", "/x/tests.py", "is excluded by 'tests'"),),
    warnings=(("big", "SyntaxWarning: <odd>"),),
    shares=(Share("big", 2, 3000, 0, 1, 1000), Share("small", 1, 500)),
    recorded_only=("big.plugin",),
    static_only=("small",),
    missing=(("absent", "small"),),
    unseen=("python -I -c pass: was not recorded",),
)
SECTIONS = [
    "Recorded only: hidden imports, which the code does not show (1)",
    "Static only: not imported in the recorded run, possibly not needed (1)",
    "Not recorded (1)",
    "Excluded (1)",
    "Left out (1)",
    "Imported but not found (1)",
    "Compiler warnings (1)",
]


class Page(HTMLParser):
    """What a page says, and what it would have to fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data)


@pytest.fixture
def lib(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "lib", FILES)


def test_the_shares_of_packages_add_up(lib: Path, tmp_path: Path) -> None:
    manifest = Manifest(paths=(str(lib),), with_source=True)
    report = freeze(discover(manifest), tmp_path / "out.frz")
    big, *others = report.shares
    assert (big.name, big.modules, big.files, big.data) == ("big", 2, 1, 5)
    assert big.source == len(FILES["big/__init__.py"])
    assert big.code > 5000
    assert [(each.name, each.modules, each.files) for each in others] == [
        ("small", 1, 0),
        ("other.txt", 0, 1),
    ]
    assert sum(share.modules for share in report.shares) == report.modules
    assert sum(share.total for share in report.shares) < report.size


def test_the_table_has_a_line_for_each_package_and_finding() -> None:
    assert tabulate(REPORT).splitlines() == [
        "",
        "package     modules        code     sources       files        data",
        "big               2       3,000           0           1       1,000",
        "small             1         500           0           0           0",
        "",
        "Recorded only (hidden imports): 1",
        "  big.plugin",
        "",
        "Static only (not imported in the recorded run): 1",
        "  small",
        "",
        "Excluded: 1",
        "  tests: is excluded by 'tests'",
        "",
        "Imported but not found: 1",
        "  absent, by small",
    ]


def test_a_page_needs_nothing_but_itself_and_says_all() -> None:
    page = Page(format_page(REPORT))
    assert page.fetched == []
    assert page.texts["h1"] == page.texts["title"] == ["/x/<app>.frz"]
    assert page.texts["summary"] == SECTIONS
    code = page.texts["code"]
    assert {"big.plugin", "tests", "/x/broken.py", "absent", "big"} <= set(code)
    assert "SyntaxWarning: <odd>" in page.texts["td"]


def test_a_page_leaves_out_what_there_is_nothing_of() -> None:
    bare = Report("/x/a.frz", 400, 0, 0, 0, 0, 0, written=True, seconds=0.1)
    page = Page(format_page(bare))
    assert "summary" not in page.texts


@pytest.mark.usefixtures("processes")
def test_a_browser_draws_the_page(tmp_path: Path) -> None:
    code, data, less, none = measure_widths(format_page(REPORT), ".shares span", tmp_path)
    assert code > data > less > none == 0
    assert code == pytest.approx(3 * data, abs=3)


def test_the_command_writes_a_page_beside_the_registry(cli: Cli, lib: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.frz"
    done = cli("freeze", "--path", lib, "-o", output, "--report", "html")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"Report: {output}.html"
    page = Page(Path(f"{output}.html").read_text(encoding="utf-8"))
    assert page.texts["h1"] == [str(output)]


def test_the_command_prints_a_table_or_json(cli: Cli, lib: Path, tmp_path: Path) -> None:
    command = ("freeze", "--path", lib, "-o", tmp_path / "out.frz", "--report")
    table = cli(*command, "table")
    assert table.stdout.splitlines()[-3].split()[:2] == ["big", "2"]
    found = json.loads(cli(*command, "json").stdout)
    assert [share["name"] for share in found["shares"]] == ["big", "small", "other.txt"]
