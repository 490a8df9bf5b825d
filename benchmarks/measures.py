"""What is measured of a side: times and memory, system calls, instructions; and its file."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sides import HERE, Builder, Command, Unavailable

from frozenfinder.bench import ProcessError, run

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
FILE_CALLS = re.compile(r"stat|open|read|lseek|close|access|getdents|getcwd|ioctl")
TIMEOUT = 600


class Boot(NamedTuple):
    """One fresh process: seconds of its imports and of all, of CPU time, and kilobytes at most."""

    imports: float
    wall: float
    cpu: float
    memory: int
    served: int


def boot(command: Command, env: Mapping[str, str] = {}, *, cache: str = "warm") -> Boot:
    """Run a side once; "cold" empties the page cache before (Linux, root). ProcessError."""
    spawn = [sys.executable, "-I", "-S", HERE / "spawn.py", cache, *command.argv]
    with tempfile.NamedTemporaryFile(suffix=".txt") as output:
        run(spawn, env=os.environ | command.env | env, output=Path(output.name))
        lines = Path(output.name).read_text("utf-8").splitlines()
    (seconds, served), (wall, cpu, memory) = lines[0].split(), lines[-1].split()
    return Boot(float(seconds), float(wall), float(cpu), int(memory), int(served))


def find_commands(
    builder: Builder, sides: Iterable[str], start: Callable[[Command], object]
) -> tuple[dict[str, Command], dict[str, str]]:
    """The sides that can take part, and of the others why not. Each is started once."""
    commands: dict[str, Command] = {}
    missing: dict[str, str] = {}
    for side in sides:
        try:
            command = builder.find_command(side)
            start(command)
        except Unavailable as reason:
            missing[side] = str(reason)
        except ProcessError as error:
            missing[side] = f"fails: {error}"
        else:
            commands[side] = command
    return commands, missing


def build_slow_files(folder: Path) -> dict[str, str]:
    """The environment in which each call for metadata takes a millisecond more; Unavailable."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if sys.platform != "linux" or shutil.which(compiler) is None:
        raise Unavailable("there is no C compiler, or no LD_PRELOAD")
    library = folder / "slow_files.so"
    command = [compiler, "-shared", "-fPIC", "-O1", HERE / "slow_files.c", "-o", library, "-ldl"]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": str(library), "SLOW_FILES_US": "1000"}


def count_calls(command: Command) -> dict[str, int]:
    """The system calls of a boot, all and those on files; Unavailable without strace."""
    if shutil.which("strace") is None:
        raise Unavailable("strace is not there")
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as table:
        trace = ["strace", "-f", "-c", "-U", "name,calls", "-o", table.name, *command.argv]
        run(trace, env=os.environ | command.env)
        calls = dict(re.findall(r"^(\w+) +(\d+)$", table.read(), re.MULTILINE))
    calls.pop("total", None)
    counts = {name: int(count) for name, count in calls.items()}
    files = sum(count for name, count in counts.items() if FILE_CALLS.search(name))
    return {"all": sum(counts.values()), "files": files}


def count_instructions(command: Command) -> int:
    """The instructions of a boot, as callgrind counts them; Unavailable without valgrind."""
    if shutil.which("valgrind") is None:
        raise Unavailable("valgrind is not there")
    argv = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command.argv]
    error = run(argv, env=os.environ | command.env | {"PYTHONHASHSEED": "0"}).error
    found = re.search(r"Collected : (\d+)", error)
    if found is None:
        raise Unavailable("callgrind says nothing")
    return int(found[1])


def describe_machine() -> dict[str, object]:
    """Where it was measured."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = re.search(r"^model name\s*: (.*)$", cpuinfo.read_text("utf-8"), re.MULTILINE)
        processor = named[1] if named else processor
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor,
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def load(file: Path) -> dict[str, Any]:
    """The figures of one version of Python; at first there are none."""
    figures: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return {"workloads": {}} | figures


def write(figures: dict[str, Any], file: Path, folders: Iterable[str | Path]) -> None:
    """Write the figures, without the folders of this machine that errors have named."""
    text = json.dumps(figures, indent=1)
    for folder in folders:
        text = text.replace(f"{folder}{os.sep}", "")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n", "utf-8")
