"""`FixupTable` alone, and what it has recorded of real modules."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from support.compiled import SUFFIX, compile_c, extension
from support.processes import RunPython
from support.registries import build_registry

from frozenfinder.native.fixups import BASIC, BUILTIN, MULTI, REINIT, UNKNOWN, FixupTable
from frozenfinder.runtime.system import FREE_THREADED

PATH = "/lib/spam.so"


@pytest.fixture(autouse=True)
def spam_is_forgotten() -> Iterator[None]:
    yield
    sys.modules.pop("spam", None)


def create(name: str = "spam", *, registered: bool = True) -> ModuleType:
    """What a first creation gives; a single-phase module is put into `sys.modules`."""
    module = ModuleType(b"spam".decode())  # a string of its own, as PyModule_New makes
    module.made = object()  # type: ignore[attr-defined]
    if registered:
        sys.modules[name] = module
    return module


def copy_of(module: ModuleType) -> ModuleType:
    """What CPython gives for a basic module that was taken out of `sys.modules`."""
    copy = ModuleType("spam")
    vars(copy).update(vars(module))
    sys.modules["spam"] = copy
    return copy


# -- kinds


def test_a_module_that_is_not_put_into_sys_modules_is_multi_phase() -> None:
    table = FixupTable()
    record = table.fixup(PATH, "spam", create(registered=False))
    assert (record.kind, record.snapshot) == (MULTI, None)
    assert table.find(PATH, "spam") is None


def test_which_single_phase_kind_it_is_is_unknown_at_first() -> None:
    table = FixupTable()
    module = create()
    record = table.fixup(PATH, "spam", module)
    assert record.kind == UNKNOWN
    assert record.snapshot == vars(module)
    assert record.snapshot is not vars(module)
    assert table.find(PATH, "spam") is record


def test_a_copy_of_the_first_contents_is_basic() -> None:
    table = FixupTable()
    module = create()
    record = table.fixup(PATH, "spam", module)
    assert table.fixup(PATH, "spam", copy_of(module)) is record
    assert record.kind == BASIC
    assert record.snapshot is not None


def test_the_same_module_updated_is_basic() -> None:
    table = FixupTable()
    module = create()
    table.fixup(PATH, "spam", module)
    assert table.fixup(PATH, "spam", module, previous=module).kind == BASIC


def test_contents_made_anew_are_re_initialising() -> None:
    table = FixupTable()
    table.fixup(PATH, "spam", create())
    record = table.fixup(PATH, "spam", create())
    assert (record.kind, record.snapshot) == (REINIT, None)
    assert table.find(PATH, "spam") is record


def test_a_re_initialising_module_is_found_in_the_main_interpreter_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = FixupTable()
    table.fixup(PATH, "spam", create())
    table.fixup(PATH, "spam", create())
    monkeypatch.setattr(table, "_interpreter", 7)
    assert table.interpreter == 7
    assert table.find(PATH, "spam") is None


def test_any_other_single_phase_module_is_found_in_every_interpreter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = FixupTable()
    monkeypatch.setattr(table, "_interpreter", 7)
    record = table.fixup(PATH, "spam", create())
    assert record.kind == UNKNOWN
    assert table.find(PATH, "spam") is record
    table.fixup(PATH, "spam", sys.modules["spam"])
    assert record.kind == BASIC
    assert table.find(PATH, "spam") is record


def test_a_basic_module_stays_basic() -> None:
    table = FixupTable()
    module = create()
    record = table.fixup(PATH, "spam", module)
    table.fixup(PATH, "spam", copy_of(module))
    snapshot = record.snapshot
    assert table.fixup(PATH, "spam", create()) is record
    assert (record.kind, record.snapshot) == (BASIC, snapshot)


class Equal(ModuleType):
    """A module that equals everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = ModuleType.__hash__


def test_modules_are_told_apart_by_identity() -> None:
    table = FixupTable()
    sys.modules["spam"] = Equal("spam")
    assert table.fixup("/lib/eggs.so", "spam", Equal("spam")).kind == MULTI
    record = table.fixup(PATH, "spam", sys.modules["spam"], previous=Equal("spam"))
    assert (record.kind, record.snapshot is None) == (UNKNOWN, False)


def test_a_multi_phase_module_that_gives_itself_back_stays_multi_phase() -> None:
    table = FixupTable()
    module = create(registered=False)
    table.fixup(PATH, "spam", module)
    sys.modules["spam"] = module
    assert table.fixup(PATH, "spam", module, previous=module).kind == MULTI


def test_a_module_that_was_there_before_tells_nothing() -> None:
    table = FixupTable()
    module = create()
    record = table.fixup(PATH, "spam", module, previous=module)
    assert (record.kind, record.snapshot) == (UNKNOWN, None)
    del sys.modules["spam"]
    record = table.fixup(PATH, "spam", create())
    assert (record.kind, record.snapshot is None) == (UNKNOWN, False)


def test_a_module_that_is_no_module_object_is_multi_phase() -> None:
    assert FixupTable().fixup(PATH, "spam", "created by Py_mod_create").kind == MULTI


def test_a_built_in_module_has_its_name_twice() -> None:
    table = FixupTable()
    record = table.fixup(b"spam".decode(), "spam", create())
    assert (record.kind, record.origin, record.snapshot) == (BUILTIN, "spam", None)
    assert table.find("spam", "spam") is record


@pytest.mark.parametrize("path", ["eggs.so", "tomatoes.so"])
def test_a_module_with_a_file_is_not_built_in(path: str) -> None:
    assert FixupTable().fixup(path, "spam", create()).kind == UNKNOWN


# -- records


def test_a_record_has_the_name_the_origin_the_interpreter_and_the_digest() -> None:
    record = FixupTable().fixup(PATH, "spam", create(), digest="5f" * 32)
    assert (record.name, record.origin, record.interpreter) == ("spam", PATH, 0)
    assert record.digest == "5f" * 32
    assert repr(record) == "<Fixup 'spam' unknown from '/lib/spam.so'>"


def test_one_file_can_have_several_modules() -> None:
    table = FixupTable()
    records = [table.fixup(PATH, name, create(name)) for name in ("spam", "eggs")]
    del sys.modules["eggs"]
    assert table.records() == records
    assert table.find(PATH, "eggs") is records[1]
    assert table.find("/other/spam.so", "spam") is None


def test_attributes_set_after_creation_are_not_in_the_snapshot() -> None:
    module = create()
    record = FixupTable().fixup(PATH, "spam", module)
    module.later = 1  # type: ignore[attr-defined]
    assert record.snapshot is not None
    assert "later" not in record.snapshot


def test_clearing_forgets_one_or_all() -> None:
    table = FixupTable()
    for name in ("spam", "eggs", "ham"):
        table.fixup(PATH, name, create(name))
        del sys.modules[name]
    table.clear(PATH, "eggs")
    table.clear(PATH, "absent")
    assert [record.name for record in table.records()] == ["spam", "ham"]
    table.clear(PATH)
    assert table.records() == []
    table.fixup(PATH, "spam", create())
    table.clear()
    assert table.records() == []


# -- reload


def test_reloading_a_basic_module_gives_its_first_contents_back() -> None:
    table = FixupTable()
    module = create()
    table.fixup(PATH, "spam", module)
    table.fixup(PATH, "spam", module, previous=module)
    made = module.made
    module.made, module.later = None, 1  # type: ignore[attr-defined]
    assert table.reload(PATH, "spam") is module
    assert (module.made, module.later) == (made, 1)


def test_reloading_a_module_that_is_gone_makes_a_new_one() -> None:
    table = FixupTable()
    module = create()
    record = table.fixup(PATH, "spam", module)
    table.fixup(PATH, "spam", module, previous=module)
    del sys.modules["spam"]
    reloaded = table.reload(PATH, "spam")
    assert reloaded is not module
    assert reloaded is sys.modules["spam"]
    assert vars(reloaded) == record.snapshot


def test_only_basic_modules_are_reloaded() -> None:
    table = FixupTable()
    assert table.reload(PATH, "spam") is None
    table.fixup(PATH, "spam", create())
    assert table.reload(PATH, "spam") is None
    table.fixup(PATH, "spam", create())
    assert table.reload(PATH, "spam") is None


# -- what an interpreter allows


def test_the_main_interpreter_allows_everything() -> None:
    FixupTable().check_allowed("spam")


CONFIGURED = """
import _interpreters
for checks in (True, False):
    config = _interpreters.new_config(
        "legacy" if checks else "isolated",
        check_multi_interp_extensions=checks,
        gil="shared",
        use_main_obmalloc=True,
    )
    interpreter = _interpreters.create(config)
    raised = _interpreters.exec(interpreter, '''
from frozenfinder.native.fixups import FixupTable
try:
    FixupTable().check_allowed("spam")
except ImportError as error:
    print(error, flush=True)
else:
    print("allowed", flush=True)
''')
    assert raised is None, raised
    _interpreters.destroy(interpreter)
"""


@pytest.mark.skipif(
    sys.version_info < (3, 13) or FREE_THREADED, reason="an interpreter cannot be configured"
)
def test_it_is_the_check_that_is_configured_which_refuses(run_python: RunPython) -> None:
    """Of two interpreters, that one checks which has daemon threads, and the other does not."""
    lines = run_python(CONFIGURED).stdout.splitlines()
    assert lines == ["module spam does not support loading in subinterpreters", "allowed"]


SUBINTERPRETERS = """
import sys
if sys.version_info >= (3, 13):
    import _interpreters
    create = lambda isolated: _interpreters.create("isolated" if isolated else "legacy")
    run, destroy = _interpreters.exec, _interpreters.destroy
else:
    import _xxsubinterpreters
    create = lambda isolated: _xxsubinterpreters.create(isolated=isolated)
    run, destroy = _xxsubinterpreters.run_string, _xxsubinterpreters.destroy
for isolated in (False, True):
    interpreter = create(isolated)
    raised = run(interpreter, '''
import _imp
from frozenfinder.native.fixups import FixupTable
from frozenfinder.runtime.system import FREE_THREADED
table = FixupTable()
def ask(setting):
    if setting is not None:
        _imp._override_multi_interp_extensions_check(setting)
    try:
        table.check_allowed("spam")
    except ImportError as error:
        return str(error)
    return "allowed"
settings = [None]
if hasattr(_imp, "_override_multi_interp_extensions_check") and not FREE_THREADED:
    settings += [1, -1, 0]
print(table.interpreter, *map(ask, settings), sep="; ", flush=True)
''')
    assert raised is None, raised
    destroy(interpreter)
"""


def test_subinterpreters_allow_what_cpython_says(run_python: RunPython) -> None:
    """By their configuration, checks enforced, checks suppressed, and by their configuration."""
    refused = "module spam does not support loading in subinterpreters"
    lines = run_python(SUBINTERPRETERS).stdout.splitlines()
    if FREE_THREADED:  # where every subinterpreter checks, and nobody may override that
        assert lines == [f"1; {refused}", f"2; {refused}"]
    elif sys.version_info >= (3, 12):
        assert lines == [
            f"1; allowed; {refused}; allowed; allowed",
            f"2; {refused}; {refused}; allowed; {refused}",
        ]
    else:
        assert lines == ["1; allowed", "2; allowed"]


# -- real modules


KINDS = """
import frozenfinder, sys
finder = frozenfinder.install(sys.argv[1])
sys.path.insert(0, sys.argv[2])
for name in sys.argv[3:]:
    __import__(name)
    first = finder.fixups.records()[-1]
    told = [first.kind]
    created = sys.modules.pop(name)
    created.later = 1
    __import__(name)
    told.append(first.kind)
    if first.kind == "single-phase basic":
        copied = vars(sys.modules.pop(name))
        ours = vars(finder.fixups.reload(first.origin, name))
        assert ours == first.snapshot and "later" not in copied
        assert all(copied[key] is ours[key] for key in ours if not key.startswith("__"))
    print(name, *told, sep=": ")
"""
EXPECTED = {
    "basic": (UNKNOWN, BASIC),
    "basic_wrapper": (UNKNOWN, BASIC),
    "basic_copy": (UNKNOWN, BASIC),
    "reinit": (UNKNOWN, REINIT),
    "state": (UNKNOWN, REINIT),
    "multi": (MULTI, MULTI),
    "several": (MULTI, MULTI),
    "singleton": (MULTI, MULTI),
}


def test_real_modules_are_told_apart(tmp_path: Path, run_python: RunPython) -> None:
    file = compile_c("variants.c", tmp_path / f"basic{SUFFIX}")
    registry = tmp_path / "kinds.frz"
    entries = [extension(name, tmp_path, file.name) for name in EXPECTED]
    roots = [("stdlib", ""), ("absolute", str(tmp_path))]
    registry.write_bytes(build_registry(*entries, roots=roots))
    done = run_python(KINDS, registry, tmp_path, *EXPECTED)
    assert done.stdout.splitlines() == [": ".join((k, *v)) for k, v in EXPECTED.items()]
