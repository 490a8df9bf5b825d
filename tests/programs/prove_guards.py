"""Guard and prove all code below folders: `python -m programs.prove_guards [FOLDER...]`.

Each code object gets a guard at every load of a global that can have one. Without a folder it is
the standard library, with its tests. The exit status is 1 if a code object is not proved.
"""

import argparse
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

from frozenfinder.freezer.defer.guards import find_guarded, guard_alone
from frozenfinder.freezer.defer.proof import Unproved


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only every Nth file")
    parser.add_argument("folders", nargs="*", type=Path)
    options = parser.parse_args()
    folders = options.folders or [Path(sysconfig.get_path("stdlib"))]
    warnings.simplefilter("ignore")
    proved, failures = 0, []
    for path in list(find_sources(folders))[:: options.every]:
        for code in compile_all(path):
            names = set(find_guarded(code))
            try:
                guard_alone(code, names)
                proved += bool(names)
            except Unproved as error:
                failures.append(f"{path}:{code.co_firstlineno}: {error}")
    print(f"{proved} code objects proved, {len(failures)} not")
    print(*failures, sep="\n", end="\n" if failures else "")
    return bool(failures)


def find_sources(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if "site-packages" not in path.relative_to(folder).parts:
                yield path


def compile_all(path: Path) -> Iterator[CodeType]:
    """The code objects of a file, but the module's own: those of functions and classes."""
    try:
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return  # test data
    pending = [code]
    while pending:
        for const in pending.pop().co_consts:
            if isinstance(const, CodeType):
                pending.append(const)
                yield const


if __name__ == "__main__":
    sys.exit(main())
