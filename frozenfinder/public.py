"""The public names of `frozenfinder`, and the module that each is in."""

from frozenfinder.own import load_own

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
    """The object of a public name; its module is imported."""
    return getattr(load_own(HOMES[name]), name)
