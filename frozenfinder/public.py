"""The public names of `frozenfinder`, and the module of each."""

HOMES = {
    "ClosedFinder": "closed.finder",
    "ClosedLoader": "closed.loader",
    "Finder": "annotations",
    "Fixup": "native.fixups",
    "FixupTable": "native.fixups",
    "FreezeError": "errors",
    "FrozenEntry": "runtime.registry",
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
    "install": "runtime.hooks",
    "installed": "runtime.hooks",
    "uninstall": "runtime.hooks",
}


def find(name: str) -> object:
    """Import the module of a public name and return the object; AttributeError for other names."""
    if name == "__all__":  # for `from frozenfinder import *`
        return sorted(HOMES)
    home = HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'frozenfinder' has no attribute {name!r}")
    return getattr(__import__(f"frozenfinder.{home}", fromlist=[name]), name)
