"""The previous registry at the output path: its code for unchanged files is reused."""

from __future__ import annotations

import marshal
import sys
from importlib.util import MAGIC_NUMBER

from frozenfinder import __version__
from frozenfinder.errors import RegistryError
from frozenfinder.freezer.compile.compiler import Compiled
from frozenfinder.freezer.compile.texts import pack_extras
from frozenfinder.freezer.plan import Module, Plan
from frozenfinder.lazy import split
from frozenfinder.runtime.layout import FrozenEntry, digest
from frozenfinder.runtime.registry import Registry


class Previous:
    """The reusable entries, by root and path; none if the registry was made in another way."""

    def __init__(self, path: str, plan: Plan) -> None:
        self._with_source = plan.with_source
        self._registry: Registry | None = None
        self._entries: dict[tuple[tuple[str, str], str, str], FrozenEntry] = {}
        try:
            registry = Registry.open(path)
        except RegistryError:
            return
        try:
            if registry.distrust is None and _is_alike(registry, plan):
                self._entries = {
                    (registry.roots[entry.root], entry.path, entry.kind): entry
                    for entry in registry.entries()
                    if entry.origname == entry.name
                }
        except (RegistryError, IndexError):
            self._entries = {}  # damaged: freeze anew
        self._registry = registry

    def close(self) -> None:
        if self._registry is not None:
            self._registry.close()

    def take(self, module: Module, content: bytes) -> Compiled | None:
        """The compiled form of a module if its file had this content, or None."""
        root = module.root
        entry = self._entries.get(((root.anchor, root.path), module.path, module.kind))
        if entry is None or self._registry is None:
            return None
        if entry.text_digest != digest(content) or entry.check == "never":
            return None
        try:
            blob = bytes(self._registry.read_blob(entry))
            code_size = len(blob) - entry.extras_size
            # what was recorded for another registry stays there
            known, _ = split(memoryview(blob)[code_size:])  # lazy code depends on other modules
            extras = pack_extras(bytes(known), [])
        except (RegistryError, ValueError):  # ValueError: extras of another version
            return None
        return Compiled(
            blob[:code_size],
            text=content if self._with_source and module.kind == "source" else None,
            patterns=extras,
            digest=entry.text_digest,
        )


def _is_alike(registry: Registry, plan: Plan) -> bool:
    """Whether the same freezer made it in the same way on the same interpreter."""
    header = registry.header
    info = registry.info()
    asked = info.get("asked")
    return (
        header.magic == int.from_bytes(MAGIC_NUMBER, "little")
        and header.marshal_version == marshal.version
        and header.cache_tag == sys.implementation.cache_tag
        and header.optimize == plan.optimize
        and info.get("frozenfinder") == __version__
        and isinstance(asked, list)
        and ("strip-docstrings" in asked) == plan.strip_docstrings
    )
