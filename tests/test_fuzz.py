"""Damaged registries: the short form of `fuzz_registry.py`, and what it has found."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs.fuzz_registry import cut, fuzz, judge, make_large
from support.mutants import BASES, MUTATIONS, NAMES, Mutant, make_mutant
from support.processes import TESTS
from support.registries import Frozen, build_registry, data_file, frozen

from frozenfinder.closed.finder import ClosedFinder
from frozenfinder.errors import RegistryError
from frozenfinder.native.parcel import unpack_parcel
from frozenfinder.runtime import layout
from frozenfinder.runtime.lock import ImportLock
from frozenfinder.runtime.registry import Registry

numbers = st.one_of(
    st.integers(0, 500), st.sampled_from([2**16 - 1, 2**32 - 1]), st.integers(0, 2**32 - 1)
)
wide = st.one_of(numbers, st.integers(0, 2**64 - 1))
texts = st.one_of(st.sampled_from(["", ".", "..", "a/../b", "/", "x\0y", *NAMES]), st.text())
fields = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(layout.KINDS),
        "table": st.sampled_from(layout.TABLES),
        "is_package": st.booleans(),
        "root": st.integers(0, 2**16 - 1),
        "path": texts,
        "origname": texts.filter(lambda text: text.isprintable()),
        "offset": wide,
        "size": wide,
        "digest": wide,
        "mtime": numbers,
        "source_size": numbers,
        "text_offset": wide,
        "text_size": wide,
        "text_digest": wide,
    },
)


@pytest.mark.usefixtures("processes")
def test_a_thousand_mutants_do_nothing_but_documented() -> None:
    tally = fuzz(1000)
    assert tally.findings == []
    assert min(tally.outcomes[kind] for kind in ("refused", "damaged", "intact")) > 20


def test_every_mutation_is_among_them() -> None:
    mutants = [make_mutant(number) for number in range(1000)]
    stories = {name for mutant in mutants for name in mutant.story}
    assert stories == {mutation.__name__ for mutation in MUTATIONS}
    assert make_mutant(7) == mutants[7] != make_mutant(7, seed=1)


def test_cut_to_many_lengths_it_is_refused() -> None:
    tally = cut(make_large(1 << 14), step=53)
    assert tally.findings == []
    assert tally.outcomes["refused"] > 900


@pytest.mark.parametrize("base", BASES)
def test_what_is_whole_is_taken_for_whole(base: bytes) -> None:
    assert judge(Mutant(base, False, False, ()), thorough=True) == "intact"


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("code", ["import os; os._exit(3)", "while True: pass"])
def test_a_mutant_that_ends_or_stops_its_worker_is_found(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's own program, in which mutant 5 does that."""
    program = tmp_path / "fuzz.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(TESTS)!r})\n"
        "from programs import fuzz_registry\n"
        "def judge(mutant, *, thorough, judge=fuzz_registry.judge):\n"
        "    if mutant == fuzz_registry.make_mutant(5):\n"
        f"        {code.replace('; ', chr(10) + ' ' * 8)}\n"
        "    return judge(mutant, thorough=thorough)\n"
        "fuzz_registry.judge = judge\n"
        "sys.exit(fuzz_registry.main())\n"
    )
    monkeypatch.setattr("programs.fuzz_registry.WORKER", [program])
    monkeypatch.setattr("programs.fuzz_registry.PATIENCE", 2.0)
    tally = fuzz(10)
    kind = "crash" if "exit" in code else "hang"
    assert [(each["number"], each["kind"]) for each in tally.findings] == [(5, kind)]
    assert sum(tally.outcomes.values()) == 10


@given(st.lists(st.tuples(texts, fields), max_size=5), st.lists(texts, max_size=2))
def test_entries_that_say_anything_are_asked_for_anything(
    drawn: list[tuple[str, dict[str, Any]]], roots: list[str]
) -> None:
    items = []
    for name, changed in drawn:
        if name.isprintable():
            items.append(Frozen(name, b"?" * 10, None, changed))
    module = frozen("pkg", "RAN = 'pkg'\n", is_package=True)
    data = build_registry(
        module,
        *items,
        files=[data_file("pkg/data.txt", b"some data")],
        roots=[("absolute", root) for root in roots],
    )
    judge(Mutant(data, resealed=True, forged=True, story=()), thorough=True)


def test_a_root_that_is_not_there() -> None:
    entry = Frozen("m", fields={"kind": "extension", "path": "m.so", "root": 7})
    registry = Registry.from_bytes(build_registry(entry))
    with pytest.raises(RegistryError) as caught:
        ClosedFinder(registry, ImportLock()).find_spec("m")
    message = "registry '<bytes>': entry 'm' has root number 7, expected a number below 2"
    assert str(caught.value) == message
    assert (caught.value.name, caught.value.path) == ("m", "<bytes>")


def test_a_path_that_cannot_be() -> None:
    item = Frozen("m", fields={"kind": "extension", "path": "\0m.so", "root": 1})
    registry = Registry.from_bytes(build_registry(item))
    (entry,) = registry.entries()
    with pytest.raises(ImportError, match=r" cannot be found: .*embedded null (?:byte|character)"):
        ClosedFinder(registry, ImportLock()).extract(entry)


def test_a_size_of_thousands_of_digits() -> None:
    line = f"module {'0' * 64} {'9' * 5000} m.so"
    with pytest.raises(RegistryError, match=re.escape(f"has the line {line!r}, expected ")):
        unpack_parcel(f"parcel {'0' * 64}\n{line}\n".encode(), "/x/app.frz", 0)


def test_a_module_that_is_marked_to_be_laid_out() -> None:
    registry = Registry.from_bytes(build_registry(frozen("m", lay_out=True)))
    with pytest.raises(RegistryError) as caught:
        ClosedFinder(registry, ImportLock()).find_spec("m")
    assert str(caught.value) == (
        "registry '<bytes>': entry 'm' is marked to be laid out, expected only top-level packages"
    )
    assert (caught.value.name, caught.value.path) == ("m", "<bytes>")
