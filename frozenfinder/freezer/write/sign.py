"""`Signer`: signs registries with an Ed25519 key."""

from __future__ import annotations

import os
from collections.abc import Callable

from frozenfinder.errors import FreezeError
from frozenfinder.trust import make_message

INSTALL = "run: pip install 'frozenfinder[sign]'"


class Signer:
    """The private key in a PEM file without a passphrase, such as `openssl genpkey` writes.

    `verify_key` is the public key in hexadecimal, as for `install`. FreezeError if the file has no
    such key, or without the package `cryptography`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        where = f"key {os.fspath(path)!r}"
        try:
            # deferred: only needed for signatures
            from cryptography.exceptions import UnsupportedAlgorithm
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        except ImportError as error:
            raise FreezeError(f"{where} cannot be used: {error}; {INSTALL}") from error
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            raise FreezeError(f"{where} cannot be read: {error.strerror}") from error
        try:
            key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise FreezeError(
                f"{where} is not an unencrypted private key in PEM format; create one with: "
                "openssl genpkey -algorithm ed25519"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise FreezeError(
                f"{where} is a {type(key).__name__.strip('_')}, expected an Ed25519 key; create "
                "one with: openssl genpkey -algorithm ed25519"
            )
        self._sign: Callable[[bytes], bytes] = key.sign
        self.verify_key = key.public_key().public_bytes_raw().hex()

    def sign(self, *pieces: bytes) -> bytes:
        """The 64 bytes of signature for a registry of these pieces; they come after the pieces."""
        return self._sign(make_message(*pieces))
