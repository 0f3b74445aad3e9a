"""Signing: who vouches for a result, and whose word counts.

A signature is over a statement, which names the key of an action and the result that it gave, and
begins with words that no other use of the same key begins with. Where the bytes lie is not signed:
they are held against their digests anyway.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlbuild.errors import HostError
from mlbuild.shared.keys import PrivateKey, PublicKey, public_key, read_private

DOMAIN = b"mlbuild signature 1\n"
MOST = 16  # signatures of one result that are looked at
_SIGNATURE = 64  # bytes


class Signer:
    """Signs with one private key."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = _ed25519().Ed25519PrivateKey.from_private_bytes(key.seed)
        self.public = public_of(key)
        self.key_id = self.public.id

    @classmethod
    def open(cls, path: str) -> "Signer":
        """Return what signs with the key in the file `path`.

        Raises InputError for a file that is no such key or that others can read, and HostError
        where nothing here can sign.
        """
        return cls(read_private(path))

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`."""
        signature: bytes = self._key.sign(DOMAIN + message)
        return signature


@dataclass(frozen=True, slots=True)
class Judge:
    """Says whose results count: those that one of `keys` has signed; without any, all."""

    keys: Mapping[str, PublicKey] = field(default_factory=dict)  # by id

    @classmethod
    def of(cls, trusted: Sequence[str], *, own: Signer | None = None) -> "Judge":
        """Return the judge that trusts these lines, and whoever trusts others trusts itself too.

        Raises InputError for a line that is no key, and HostError where nothing here can check.
        """
        found = [public_key(line) for line in trusted]
        if found:
            _ed25519()
            found += [own.public] if own else []
        return cls({key.id: key for key in found})

    def accepts(self, message: bytes, signatures: Sequence[tuple[str, bytes]]) -> bool:
        """Say whether one of `signatures`, pairs of key id and signature, is to be trusted.

        Whatever stands there instead of signatures is no reason for an exception: it is not.
        """
        if not self.keys:
            return True
        return any(
            self._signed(message, key_id, signature) for key_id, signature in signatures[:MOST]
        )

    def _signed(self, message: bytes, key_id: str, signature: bytes) -> bool:
        key = self.keys.get(key_id)
        return key is not None and len(signature) == _SIGNATURE and _fits(key, message, signature)


def new_key(name: str) -> PrivateKey:
    """Return a private key that nobody has ever had."""
    seed: bytes = _ed25519().Ed25519PrivateKey.generate().private_bytes_raw()
    return PrivateKey(name, seed)


def public_of(key: PrivateKey) -> PublicKey:
    """Return the public half of a key."""
    private = _ed25519().Ed25519PrivateKey.from_private_bytes(key.seed)
    return PublicKey(key.name, private.public_key().public_bytes_raw())


def _fits(key: PublicKey, message: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - optional, and slow

    try:
        checker = _ed25519().Ed25519PublicKey.from_public_bytes(key.raw)
        checker.verify(signature, DOMAIN + message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _ed25519() -> Any:
    """Return the module that does the mathematics."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - optional
    except ImportError as error:
        raise HostError(
            "signatures need the package `cryptography`, which is not installed here",
            hints=("install it with `pip install 'mlbuild[signing]'`",),
        ) from error
    return ed25519
