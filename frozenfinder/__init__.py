"""frozenfinder: CPython that boots from one frozen registry file.

    import frozenfinder

    finder = frozenfinder.install("app.frz")

`install` and `uninstall` are imported at once; the module of any other name is imported when a
program first uses it. `__init__.pyi` has all of them for type checkers.
"""

from frozenfinder.runtime.hooks import install, uninstall

__version__ = "0.1.0"

_HOMES = {
    "ClosedFinder": "closed.finder",
    "ClosedLoader": "closed.loader",
    "Finder": "annotations",
    "Fixup": "native.fixups",
    "FixupTable": "native.fixups",
    "FreezeError": "errors",
    "FrozenEntry": "runtime.layout",
    "FrozenExtensionLoader": "runtime.loader",
    "FrozenFinder": "runtime.finder",
    "FrozenFinderError": "errors",
    "FrozenLoader": "runtime.loader",
    "ImportLock": "runtime.lock",
    "Mode": "annotations",
    "NullFinder": "null_finder",
    "Plan": "freezer",
    "Registry": "runtime.registry",
    "RegistryError": "errors",
    "RegistryNotFoundError": "errors",
    "RegistryTrustError": "errors",
    "RegistryVersionError": "errors",
    "default_registry": "runtime.hooks",
    "freeze": "freezer",
    "installed": "runtime.hooks",
}

__all__ = ["install", "uninstall", *_HOMES]  # noqa: PLE0604  # names, and the checker sees none


def __getattr__(name: str) -> object:
    # Programs look up names in every module while they iterate over `sys.modules`: a name that is
    # not one of these imports nothing.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(__import__(f"{__name__}.{home}", fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})
