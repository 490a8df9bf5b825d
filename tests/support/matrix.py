"""Which tests run on some of the supported versions of Python only, and why."""

MIDDLE = (3, 13)
EDGES = ((3, 11), MIDDLE, (3, 15))
"""The oldest version, the newest, and one between them, for which the documentation is written."""

LEFT_OUT: dict[str, str] = {
    "test_demo.py": "freezes and boots as other tests do",
}
"""By the beginning of their ids: tests that run on `EDGES` alone, with the reason."""


def left_out(nodeid: str, version: tuple[int, int]) -> str | None:
    """Why a test does not run on a version; None if it does."""
    if version in EDGES:
        return None
    test = nodeid.removeprefix("tests/")
    for beginning, reason in LEFT_OUT.items():
        if test.startswith(beginning):
            return f"runs on {', '.join('.'.join(map(str, each)) for each in EDGES)}: {reason}"
    return None
