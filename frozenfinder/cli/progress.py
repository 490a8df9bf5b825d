"""Progress on a terminal, shown once a piece of work has taken a second."""

import sys
import time
from shutil import get_terminal_size
from types import TracebackType
from typing import Any, Protocol, Self

PATIENCE = 1.0  # seconds of silence
INTERVAL = 0.1  # seconds between two lines


class _Display(Protocol):
    def show(self, done: int, total: int, name: str) -> None: ...

    def close(self) -> None: ...


class Progress:
    """A context manager; call it with (done, total, name of the last item) as often as you like.

    It is silent if stderr is not a terminal, and for work that ends within a second.
    """

    def __init__(self, label: str, *, quiet: bool = False) -> None:
        self._label = label
        self._silent = quiet or sys.stderr is None or not sys.stderr.isatty()
        self._due = time.monotonic() + PATIENCE
        self._display: _Display | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._display is not None:
            self._display.close()

    def __call__(self, done: int, total: int, name: str = "") -> None:
        if self._silent or time.monotonic() < self._due:
            return
        if self._display is None:
            self._display = _make_display(self._label)
        self._display.show(done, total, name)
        self._due = time.monotonic() + INTERVAL


def _make_display(label: str) -> _Display:
    try:
        return _Bar(label)
    except ImportError:  # rich is an extra
        return _Counter(label)


class _Counter:
    """One line, overwritten each time."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._width = 0

    def show(self, done: int, total: int, name: str) -> None:
        line = f"{self._label} {done}/{total} {name}"[: get_terminal_size().columns - 1]
        sys.stderr.write(f"\r{line:{self._width}}")
        sys.stderr.flush()
        self._width = len(line)

    def close(self) -> None:
        sys.stderr.write(f"\r{'':{self._width}}\r")
        sys.stderr.flush()


class _Bar:
    """rich's progress bar, with the remaining time; ImportError without rich."""

    def __init__(self, label: str) -> None:
        from rich.console import Console
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            *RichProgress.get_default_columns(),
            "{task.fields[name]}",
            console=Console(stderr=True),
            transient=True,
        )
        self._task: Any = self._bar.add_task(label, name="")
        self._bar.start()

    def show(self, done: int, total: int, name: str) -> None:
        self._bar.update(self._task, completed=done, total=total, name=name)

    def close(self) -> None:
        self._bar.stop()
