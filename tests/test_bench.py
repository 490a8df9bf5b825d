"""Measuring boots: processes, turns, ratios, traces of imports and the page made of them."""

import sys
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.browser import measure_widths

from frozenfinder.bench import (
    ProcessError,
    TimedImport,
    compare,
    make_page,
    read_imports,
    run,
    take_turns,
)

TRACE = """\
import time: self [us] | cumulative | imported package
a program's own line
import time:       100 |        100 |   pkg.first
import time:        50 |         50 |     pkg.second.deep
import time:        20 |         70 |   pkg.second
import time:         7 |        177 | pkg
import time:         3 |          3 | last
"""
IMPORTS = [
    TimedImport("pkg", 0, begin=0, own=7, whole=177),
    TimedImport("pkg.first", 1, begin=7, own=100, whole=100),
    TimedImport("pkg.second", 1, begin=107, own=20, whole=70),
    TimedImport("pkg.second.deep", 2, begin=127, own=50, whole=50),
    TimedImport("last", 0, begin=177, own=3, whole=3),
]


@pytest.mark.usefixtures("processes")
def test_a_process_is_measured() -> None:
    code = "import sys; sys.stderr.write('written'); print('x' * 10**6); sum(range(10**6))"
    usage = run([sys.executable, "-c", code])
    assert usage.error == "written"
    assert usage.cpu is None or 0 < usage.cpu < usage.wall + 1
    assert usage.rss is None or usage.rss > 1_000_000


@pytest.mark.usefixtures("processes")
def test_what_a_process_prints_can_be_kept(tmp_path: Path) -> None:
    run([sys.executable, "-c", "print('kept')"], output=tmp_path / "output")
    assert (tmp_path / "output").read_text().strip() == "kept"


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.stderr.write('one\\ntwo\\n'); sys.exit(3)", "exit status 3: two"),
        ("import sys; sys.exit(1)", "exit status 1: no output on stderr"),
        ("import os; os.kill(os.getpid(), 9)", "exit status -9: no output on stderr"),
    ],
)
def test_a_process_that_fails_is_an_error(code: str, message: str) -> None:
    with pytest.raises(ProcessError) as caught:
        run([sys.executable, "-c", code])
    assert str(caught.value) == message


def test_sides_take_turns_at_being_first() -> None:
    called: list[str] = []

    def call(name: str) -> str:
        called.append(name)
        return name

    sides = {name: partial(call, name) for name in "abc"}
    progress: list[tuple[int, int]] = []
    values = take_turns(sides, 3, lambda done, total: progress.append((done, total)))
    assert "".join(called) == "abcbcacab"
    assert values == {"a": ["a"] * 3, "b": ["b"] * 3, "c": ["c"] * 3}
    assert progress == [(done, 9) for done in range(1, 10)]


def test_ratios_are_those_of_each_round() -> None:
    comparison = compare([100, 200, 300], [50, 160, 180])
    assert comparison == (200, 160, 0.6, 0.55, 0.7)
    assert comparison.is_clear
    assert not compare([1, 1, 1, 1], [0.8, 0.9, 1.1, 1.2]).is_clear


def test_imports_are_put_where_they_lie_in_time() -> None:
    assert read_imports(TRACE) == IMPORTS
    assert read_imports("nothing of the kind\n") == []


def test_an_import_inside_of_none_that_is_told_is_kept() -> None:
    """Threads that import at once write over each other's levels."""
    trace = "import time:         5 |          5 |       deep\n"
    assert [each[:2] for each in read_imports(trace)] == [("deep", 3)]


@pytest.mark.usefixtures("processes")
def test_what_the_interpreter_tells_adds_up() -> None:
    usage = run([sys.executable, "-X", "importtime", "-c", "import json.tool"])
    imports = read_imports(usage.error)
    names = [each.name for each in imports]
    assert names.index("json") < names.index("json.decoder")
    assert imports[0].begin == 0
    end = max(each.begin + each.whole for each in imports)
    assert end == sum(each.whole for each in imports if not each.depth)


class Page(HTMLParser):
    """The elements of a page, and the bars of its waterfalls."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.bars: list[str] = []
        self.opened: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "!doctype"):
            self.opened.append(tag)
        self.links += [name for name, _ in attributes if name in ("src", "href")]
        if ("class", "bar") in attributes:
            self.bars.append(dict(attributes)["style"] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag


def make() -> str:
    table = [("", "before", "after"), ("wall time", "1 ms", "2 ms")]
    return make_page("python '<x>'", table, {"before": IMPORTS, "after": IMPORTS[-1:]})


def test_a_page_shows_both_sides_on_one_scale_and_loads_nothing() -> None:
    page = Page(make())
    assert page.opened == []
    assert page.links == []
    assert len(page.bars) == 6
    assert page.bars[0] == "left:0.000%;width:98.333%"
    assert page.bars[-1] == "left:98.333%;width:1.667%"
    assert "python &#x27;&lt;x&gt;&#x27;" in make()


def test_a_page_shows_the_longest_imports_only() -> None:
    imports = [
        TimedImport(f"module{n}", 0, begin=n * 10, own=n + 1, whole=n + 1) for n in range(200)
    ]
    text = make_page("x", [("",)], {"before": imports, "after": []})
    assert len(Page(text).bars) == 120
    assert "120 imports, and 80 shorter ones." in text
    assert "module199" in text


@pytest.mark.usefixtures("processes")
def test_a_browser_draws_the_page(tmp_path: Path) -> None:
    widths = measure_widths(make(), ".bar", tmp_path)
    assert len(widths) == 6
    assert widths[0] > widths[1] > widths[2] > widths[3] > widths[4] > 0
    assert widths[4] == widths[5]
