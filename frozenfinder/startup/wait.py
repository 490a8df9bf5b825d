"""Lets an interpreter of an environment with an enabled registry wait for its first import.

The line that `enable` writes into site-packages runs this file by its path and calls `wait`. Then
there is one small finder on the meta path, and the package is not imported. At the first import
that gets to it, this finder installs the registry and becomes the finder of that registry.

Every interpreter of the environment reads this file when it starts, so it is short: comments, which
are not in its code, take the place of docstrings.
"""

import _frozen_importlib
import sys
from _frozen_importlib_external import PathFinder, spec_from_file_location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What the start of an interpreter looks for; and the package, which wakes the finder itself.
_LEFT = "frozenfinder", "linecache", "sitecustomize", "usercustomize"


class Waiting:
    # A finder that becomes a `FrozenFinder`; where nothing is served, it goes on finding nothing.
    # importlib's global lock protects it: `find_spec` runs with that lock held.

    def __init__(self, *enabled: str) -> None:
        self._enabled = enabled
        self._begun = False

    def find_spec(self, fullname: str, *rest: object) -> "Any":
        # The answer of the registry's finder, once the registry is installed.
        if self._begun or fullname.partition(".")[0] in _LEFT:
            return None
        self.wake()
        # by now it is a finder of another class, if something is served
        return self.find_spec(fullname, *rest) if type(self) is not Waiting else None

    def wake(self) -> None:
        # Install the registry, unless that has begun already. At the end of the stack or of the
        # memory, and after an interrupt, the next import tries it again. After any other exception,
        # nothing is served.
        if self._begun:
            return
        self._begun = True
        try:
            serve_enabled(self, *self._enabled)
        except (RecursionError, MemoryError):
            self._begun = False
        except Exception as error:  # noqa: BLE001  # the import is to go on in any case
            if sys.stderr is not None:
                sys.stderr.write(f"frozenfinder serves nothing: {error!r}\n")
        except BaseException:
            self._begun = False
            raise


def wait(mode: str, *enabled: str) -> None:
    # Put a waiting finder directly before PathFinder; install a registry in closed mode at once.
    # `enabled` are the folder of the line that calls it, and the text of the settings. Up to 3.13,
    # site reads the line twice in a virtual environment.
    # deferred: as a global variable it would keep `os` alive at the end of the interpreter, longer
    from os import environ

    if environ.get("FROZENFINDER") == "off" and not sys.flags.ignore_environment:
        return
    if mode == "closed":
        if "frozenfinder.activation" not in sys.modules:
            serve_enabled(None, *enabled)
    else:
        path: "list[Any]" = sys.meta_path
        path.insert(path.index(PathFinder) if PathFinder in path else len(path), Waiting(*enabled))


def serve_enabled(waiting: "Waiting | None", *enabled: str) -> None:
    # Import the package, unless the program has, and let it install the registry. Nothing is
    # served if the program has taken importlib out of `sys.modules`: to import it again would make
    # a second one.
    modules: "Any" = sys.modules
    own: "Any" = modules.get("frozenfinder.own")
    if own is None:
        if modules.get("_frozen_importlib") is not _frozen_importlib:
            return
        home = wait.__code__.co_filename[: -len("/startup/wait.py")]
        spec: "Any" = spec_from_file_location("frozenfinder.own", f"{home}{home[-13:-12]}own.py")
        own = _frozen_importlib.module_from_spec(spec)
        # the program may have replaced `__import__`
        importing = {"__import__": getattr(_frozen_importlib, "__import__", __import__)}
        own.__builtins__ = {**modules["builtins"].__dict__, **importing}
        try:
            spec.loader.exec_module(own)
            own.import_package(home, own)
        except ImportError:  # incomplete, or not for this interpreter
            return
    own.load_own("activation").activate_enabled(waiting, *enabled)
