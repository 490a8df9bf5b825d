"""Which tests run on some of the supported versions of Python only, and why."""

EDGES = ((3, 11), (3, 13), (3, 15))
"""The oldest version, the newest, and one between them: the documentation is about that."""

LEFT_OUT = {
    "test_applications.py": "frameworks, whose modules other tests import",
    "test_bench.py": "measures in the same way on every version",
    "test_cli_bench.py": "measures in the same way on every version",
    "test_demo.py": "freezes and boots the standard library as other tests do",
    "test_faults.py::test_every_call_that_fails": "the calls are those of this package",
    "test_freeze.py::test_places_orders_and_much_else": "the order of names in a registry",
    "test_freeze.py::test_processes_flags_hash_seeds": "the order of names in a registry",
    "test_fuzz.py": "damage to a format that is the same for every version",
    "test_libraries.py": "what libraries do once they are imported",
    "test_parity.py::test_every_module_of_a_library": "the standard library's modules are compared",
    "test_programs.py": "real programs, made of what other tests bundle",
    "test_speed.py": "measures in the same way on every version",
    "test_threads.py::test_threads_that_import_a_cyclic_graph": "one of two kinds of random graphs",
}
"""By the beginning of their names: tests that run on `EDGES` alone, and what they are about."""


def left_out(nodeid: str, version: tuple[int, int]) -> str | None:
    """Why a test does not run on a version; None if it does."""
    if version in EDGES:
        return None
    test = nodeid.removeprefix("tests/")
    for beginning, reason in LEFT_OUT.items():
        if test.startswith(beginning):
            on = ", ".join(".".join(map(str, each)) for each in EDGES)
            return f"runs on {on}: {reason}"
    return None
