"""Every exception that frozenfinder raises of its own."""


class FrozenFinderError(Exception):
    """The base of the hierarchy; catch it to catch them all."""


class RegistryError(FrozenFinderError, ImportError):
    """A registry is malformed or cannot be read.

    `path` is the registry's file (or what was given in its place), `name` the entry, `offset` the
    byte, counted from the registry's first; each is None where it does not apply.
    """

    def __init__(
        self,
        message: str,
        *,
        name: "str | None" = None,
        path: "str | None" = None,
        offset: "int | None" = None,
    ) -> None:
        super().__init__(message, name=name, path=path)
        self.offset = offset


class RegistryNotFoundError(RegistryError):
    """There is no file where the registry should be."""


class RegistryVersionError(RegistryError):
    """The registry was frozen for another interpreter, or in another version of the format."""


class RegistryTrustError(RegistryError):
    """The registry's digest, owner or permissions are not what was asked for."""


class FreezeError(FrozenFinderError):
    """A freeze could not be carried out; `module` names the module at fault, if it was one."""

    def __init__(self, message: str, *, module: "str | None" = None) -> None:
        super().__init__(message)
        self.module = module
