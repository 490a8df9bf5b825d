"""Which tests run on some of the supported versions of Python only, and why."""

EDGES = ((3, 11), (3, 13), (3, 15))
"""The oldest version, the newest, and one between them: the documentation is about that."""

ENDS = ((3, 11), (3, 15))
"""The oldest version and the newest alone: for what takes long and is about others' code."""

FORMAT = "the format of a registry is the same for every version"
FILES = "files and folders, which are the same for every version"
FREEZING = "what is frozen is found in the same way on every version"
MEASURES = "measures in the same way on every version"

LEFT_OUT = {
    "test_applications.py": "frameworks, whose modules other tests import",
    "test_bench.py": MEASURES,
    "test_bundle.py": "an archive, whose start imports what other tests import",
    "test_cache.py": FILES,
    "test_changed_importlib.py": "test_premises.py tries a program of each kind",
    "test_cli.py": "the command line is the same for every version",
    "test_cli_bench.py": MEASURES,
    "test_cli_freeze.py": FREEZING,
    "test_activation.py": FILES,
    "test_datacache.py": FILES,
    "test_commands.py": MEASURES,
    "test_demo.py": "freezes and boots the standard library as other tests do",
    "test_discover.py": FREEZING,
    "test_distributions.py": FREEZING,
    "test_entry.py": FREEZING,
    "test_extraction.py": FILES,
    "test_faults.py::test_every_call_that_fails": "the calls are those of this package",
    "test_folder.py": FILES,
    "test_format.py": FORMAT,
    "test_freeze.py::test_places_orders_and_much_else": "the order of names in a registry",
    "test_freeze.py::test_processes_flags_hash_seeds": "the order of names in a registry",
    "test_fuzz.py": FORMAT,
    "test_layers.py": "reads this package's sources",
    "test_layout.py": FORMAT,
    "test_libraries.py": "what libraries do once they are imported",
    "test_overlay_machine.py": "test_overlay.py tries a program of each kind",
    "test_parity.py::test_every_module_of_a_library": "the standard library's modules are compared",
    "test_programs.py": "real programs, made of what other tests bundle",
    "test_registry.py": FORMAT,
    "test_speed.py": MEASURES,
    "test_threads.py::test_threads_that_import_a_cyclic_graph": "one of two kinds of random graphs",
    "test_trace.py": FREEZING,
    "test_trust.py": FILES,
}
"""By the beginning of their names: tests that run on `EDGES` alone, and what they are about."""


AT_THE_ENDS = (
    "test_applications.py",
    "test_changed_importlib.py",
    "test_demo.py",
    "test_libraries.py",
    "test_programs.py",
)
"""Those of them that run on `ENDS` alone."""


def left_out(nodeid: str, version: tuple[int, int]) -> str | None:
    """Why a test does not run on a version; None if it does."""
    test = nodeid.removeprefix("tests/")
    versions = ENDS if test.startswith(AT_THE_ENDS) else EDGES
    if version in versions:
        return None
    for beginning, reason in LEFT_OUT.items():
        if test.startswith(beginning):
            on = ", ".join(".".join(map(str, each)) for each in versions)
            return f"runs on {on}: {reason}"
    return None
