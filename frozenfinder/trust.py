"""Checks of a registry's content: its SHA-256, and its signature.

`docs/explanation/threat-model.md` says what each protects against. The caller (`native.pins`) goes
on with the bytes that were checked, so nobody can change them between the check and the use.
"""

import sys

from frozenfinder.runtime.layout import SIGNED_AS, unpack_header

from .errors import RegistryTrustError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def find_sha256() -> "Callable[..., Any]":
    """OpenSSL's function, or CPython's own, which takes five times as long.

    `hashlib` would import more.
    """
    try:
        # deferred: an extension module, which may be embedded
        from _hashlib import openssl_sha256
    except ImportError:
        pass
    else:
        return openssl_sha256
    if sys.version_info >= (3, 12):
        # deferred: as above
        from _sha2 import sha256
    else:  # before 3.12
        # deferred: as above
        from _sha256 import sha256  # type: ignore[import-not-found]
    return sha256  # type: ignore[no-any-return]


def check_sha256(data: bytes, expected: str, path: str) -> None:
    """RegistryTrustError unless `data`, the bytes of a registry, has this SHA-256.

    `expected` is 32 bytes in hexadecimal, else ValueError.
    """
    wanted = unpack_hex(expected, "sha256")
    found = find_sha256()(data).digest()
    if found != wanted:
        raise RegistryTrustError(
            f"registry {path!r} has SHA-256 {found.hex()}, expected {wanted.hex()}; "
            "get the pinned registry, or change the pin if you trust this one",
            path=path,
        )


def check_signature(data: bytes, key: str, path: str) -> None:
    """RegistryTrustError unless `data`, the bytes of a registry, is signed with this Ed25519 key.

    `key` is the public key, 32 bytes in hexadecimal, else ValueError. RegistryTrustError also
    without the package `cryptography`.
    """
    wanted = unpack_hex(key, "verify_key")
    offset, size, _ = unpack_header(data, len(data), path).sections["signature"]
    if not size:
        raise RegistryTrustError(
            f"registry {path!r} has no signature, expected one by the key {wanted.hex()}; "
            "freeze it again with --sign",
            path=path,
        )
    try:
        # deferred: only needed for signatures
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise RegistryTrustError(
            f"registry {path!r}: its signature cannot be checked: {error}; "
            "run: pip install 'frozenfinder[sign]'",
            path=path,
        ) from error
    message = make_message(memoryview(data)[:offset])
    try:
        Ed25519PublicKey.from_public_bytes(wanted).verify(data[offset:], message)
    except InvalidSignature:
        raise RegistryTrustError(
            f"registry {path!r} has a signature that does not match its content and the key "
            f"{wanted.hex()}; it was changed, or signed with another key",
            path=path,
            offset=offset,
        ) from None


def make_message(*pieces: "bytes | memoryview") -> bytes:
    """The message to sign, from the bytes of a registry before its signature."""
    computed = find_sha256()()
    for piece in pieces:
        computed.update(piece)
    return SIGNED_AS + bytes(computed.digest())


def unpack_hex(text: str, argument: str) -> bytes:
    """32 bytes from hexadecimal; else a ValueError that names the argument."""
    try:
        unpacked = bytes.fromhex(text)
    except ValueError:
        unpacked = b""
    if len(unpacked) != 32:
        raise ValueError(f"{argument} is {text!r}, expected 32 bytes in hexadecimal")
    return unpacked
