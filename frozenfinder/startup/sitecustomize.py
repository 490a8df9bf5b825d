"""Makes Python processes that a program of `frozenfinder run` starts boot as the program did.

`run` puts the folder of this file first in PYTHONPATH, so `site` imports it in each of them in
place of the environment's own `sitecustomize`. That one is imported first, as in the program. Any
version of Python may read this file, so its syntax is valid in all of them, and it does nothing in
interpreters other than the one that `run` was called with.
"""

import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))


def activate_as_run():
    # type: () -> None
    """Install the registry that FROZENFINDER_RUN names: `tag,option=value,...:path`."""
    settings, _, registry = os.environ.get("FROZENFINDER_RUN", "").partition(":")
    fields = settings.split(",")
    if fields.pop(0) != getattr(getattr(sys, "implementation", None), "cache_tag", None):
        return
    home = os.path.dirname(os.path.dirname(FOLDER))
    sys.path.insert(0, home)
    try:
        # deferred: another version of Python could not compile it
        from frozenfinder.activation import activate
    except ImportError:
        return
    finally:
        sys.path.remove(home)
    activate(registry, **dict(field.split("=") for field in fields))


def step_aside():
    # type: () -> None
    """Import the `sitecustomize` that this one hides, if there is one."""
    sys.path[:] = [item for item in sys.path if item != FOLDER]
    sys.path_importer_cache.pop(FOLDER, None)
    own = sys.modules.pop("sitecustomize")
    try:
        # deferred: its turn comes now
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        sys.modules["sitecustomize"] = own
        if getattr(error, "name", "sitecustomize") != "sitecustomize":
            raise


if __name__ == "sitecustomize":
    try:
        step_aside()
    finally:
        activate_as_run()
