"""Wheels that pip and uv install without a network."""

import zipfile
from pathlib import Path


def build_wheel(
    folder: Path, name: str, requires: str = "", scripts: str = "", **files: str
) -> None:
    """A wheel of one distribution; `files` are modules by their names."""
    info = f"{name}-1.0.dist-info"
    lines = [f"Requires-Dist: {line}\n" for line in requires.split("\n") if line]
    extras = {part.split("'")[1] for part in requires.split("extra == ")[1:]}
    provides = [f"Provides-Extra: {extra}\n" for extra in sorted(extras)]
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    contents = {
        **{f"{module}.py": source for module, source in files.items()},
        f"{info}/METADATA": metadata + "".join((*lines, *provides)),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": scripts,
    }
    record = "".join(f"{path},,\n" for path in (*contents, f"{info}/RECORD"))
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in {**contents, f"{info}/RECORD": record}.items():
            wheel.writestr(path, text)
