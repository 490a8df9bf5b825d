"""Has the Python processes that a program of `frozenfinder run` starts boot as the program did.

`run` puts this file's folder before PYTHONPATH, so that `site` imports it in each of them, in place
of the `sitecustomize` that there may be; that one's turn comes first, as it did in the program. Any
Python may come to read this, so it keeps to what all of them understand, and leaves alone those
that are not like the one that `run` was called with.
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
        # deferred: another Python could not compile it
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
