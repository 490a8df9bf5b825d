"""All exception classes of frozenfinder."""


class FrozenFinderError(Exception):
    """The base class of all of them."""


class RegistryError(FrozenFinderError, ImportError):
    """A registry is malformed or cannot be read.

    `path` is the registry's file (or the name of a registry in memory), `name` the entry, and
    `offset` the position in bytes from the start of the registry; each is None if it does not
    apply.
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
    """The file of the registry does not exist."""


class RegistryVersionError(RegistryError):
    """The registry was frozen for another interpreter, or has another version of the format."""


class RegistryTrustError(RegistryError):
    """The registry's SHA-256, signature, owner or permissions are not the required ones."""


class FreezeError(FrozenFinderError):
    """A freeze failed; `module` is the name of the module that caused it, or None."""

    def __init__(self, message: str, *, module: "str | None" = None) -> None:
        super().__init__(message)
        self.module = module
