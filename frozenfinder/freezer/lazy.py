"""Names of a package that are imported at their first use."""

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(
    package: str, namespace: dict[str, object], homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package (PEP 562).

    `homes` has for each name the module that defines it, relative to the package. After its first
    use, a name is in `namespace`, the package's globals: two threads that use it at once store the
    same object.
    """

    def get_attribute(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(f".{home}", package), name)
        namespace[name] = value
        return value

    def list_names() -> list[str]:
        return sorted({*namespace, *homes})

    return get_attribute, list_names
