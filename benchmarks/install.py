"""What installing costs, for a small registry and a large one: `python benchmarks/install.py`.

Fresh processes take turns: one imports json, which is measured beside it for scale, the others
import frozenfinder and install a registry of 100 and of 100,000 modules. Targets: 1.5 ms for the
small one, at most 1.1 times as much for the large one. The exit status is 1 where one is missed.
"""

import argparse
import marshal
import statistics
import sys
import tempfile
from functools import partial
from importlib.util import MAGIC_NUMBER
from pathlib import Path

from measures import boot
from sides import Command

from frozenfinder.bench import compare, take_turns
from frozenfinder.freezer.write import pack
from frozenfinder.runtime import layout

LIMIT_MS, LIMIT_RATIO = 1.5, 1.1
PACKAGE = 100  # modules in one

PROGRAM = """\
import time
begin = time.perf_counter()
{statement}
print(time.perf_counter() - begin, 0)
"""


def write_registry(path: Path, modules: int) -> None:
    """Write one of so many modules, in packages of a hundred."""
    blob = marshal.dumps(compile("", "module.py", "exec"))
    entries = []
    for number in range(modules):
        package = f"package{number // PACKAGE}"
        first = not number % PACKAGE
        entry = layout.FrozenEntry(
            package if first else f"{package}.module{number}",
            root=1,
            path=f"{package}/__init__.py" if first else f"{package}/module{number}.py",
            is_package=first,
            offset=0,
            size=len(blob),
            digest=layout.digest(blob),
        )
        entries.append(entry)
    front = pack.pack_registry(
        roots=[("stdlib", ""), ("absolute", "/nowhere")],
        modules=entries,
        files=[],
        info=b"{}",
        boot=b"",
        blobs_size=len(blob),
        world=False,
        magic=int.from_bytes(MAGIC_NUMBER, "little"),
        marshal_version=marshal.version,
        optimize=sys.flags.optimize,
        cache_tag=sys.implementation.cache_tag,
    )
    path.write_bytes(front + blob)


def install(path: Path) -> str:
    return f"import frozenfinder; frozenfinder.install({str(path)!r})"


def measure(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Milliseconds, by what was measured."""
    small, large = folder / "small.frz", folder / "large.frz"
    write_registry(small, 100)
    write_registry(large, 100_000)
    statements = {"json": "import json", "small": install(small), "large": install(large)}
    commands = {
        name: Command([sys.executable, "-c", PROGRAM.format(statement=statement)], {})
        for name, statement in statements.items()
    }
    sides = {name: partial(boot, command) for name, command in commands.items()}
    take_turns(sides, 1)  # not counted: it compiles, and brings the files into memory
    boots = take_turns(sides, rounds)
    return {name: [each.imports * 1e3 for each in values] for name, values in boots.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    with tempfile.TemporaryDirectory(prefix="frozenfinder-") as folder:
        times = measure(Path(folder), max(parser.parse_args().rounds, 2))
    json, small, _ = (statistics.median(values) for values in times.values())
    ratio = compare(times["small"], times["large"])
    fastest = {name: min(values) for name, values in times.items()}
    print(f"Python {sys.version.split()[0]}; medians, and the fastest in brackets")
    print(f"import json: {json:.2f} ms ({fastest['json']:.2f})")
    print(f"100 modules: {small:.2f} ms ({fastest['small']:.2f})   target: at most {LIMIT_MS}")
    print(f"100,000 modules over 100: {ratio.ratio:.2f}   target: at most {LIMIT_RATIO}")
    print(f"  (quartiles {ratio.low:.2f} and {ratio.high:.2f})")
    return int(small > LIMIT_MS or ratio.ratio > LIMIT_RATIO)


if __name__ == "__main__":
    sys.exit(main())
