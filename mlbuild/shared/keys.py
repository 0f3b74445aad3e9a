"""Keys: the texts and files of Ed25519 keys. Who signs and who checks is in `signing.py`.

A public key is one line, `mlbuild-ed25519:BASE64:NAME`, and so is a private one, whose file nobody
but its owner may read. The name is for people; the id, which stands beside a signature, follows
from the key.
"""

import base64
import binascii
import os
import re
import stat
from dataclasses import dataclass, field

from mlbuild.core.digest import digest_of
from mlbuild.errors import HostError, InputError
from mlbuild.sharing import PUBLIC

PRIVATE = f"{PUBLIC}-private"  # how the line of a private key begins
SIZE = 32  # bytes of either key
_ID = 16  # hex digits
_DOMAIN = b"mlbuild key 1\n"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_LIMIT = 4096  # bytes of a file
_CHMOD = "chmod 600"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that checks signatures."""

    name: str
    raw: bytes

    @property
    def id(self) -> str:
        """The short name that stands beside its signatures."""
        return digest_of(_DOMAIN + self.raw).hash[:_ID]

    def __str__(self) -> str:
        return f"{PUBLIC}:{base64.b64encode(self.raw).decode()}:{self.name}"


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that signs."""

    name: str
    seed: bytes = field(repr=False)

    def line(self) -> str:
        """Return the secret text that is its file."""
        return f"{PRIVATE}:{base64.b64encode(self.seed).decode()}:{self.name}\n"


def public_key(text: str) -> PublicKey:
    """Read the line of a public key; raise InputError for any other."""
    name, raw = _parted(text, PUBLIC)
    if not raw:
        raise InputError(
            "this is no public key",
            hints=(f"a public key looks like `{PUBLIC}:…:ana`; `mlbuild key show` prints yours",),
        )
    return PublicKey(name, raw)


def checked_name(name: str) -> str:
    """Return a name that a key may have; raise InputError for any other."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"`{name}` cannot be the name of a key",
            hints=("a name has letters, digits, `.`, `_`, `@` and `-`",),
        )
    return name


def read_private(path: str) -> PrivateKey:
    """Read the file of a private key.

    Raises InputError when it is absent, holds no such key, or is open to others.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_LIMIT)
    except OSError as error:
        raise InputError(
            f"cannot read the signing key `{path}`: {error.strerror}",
            hints=("`mlbuild key new` makes one, `mlbuild key list` shows those you have",),
        ) from error
    if not stat.S_ISREG(mode) or stat.S_IMODE(mode) & 0o077:
        raise InputError(f"others can read the signing key `{path}`", hints=(f"`{_CHMOD} {path}`",))
    name, seed = _parted(content.decode("ascii", "replace").strip(), PRIVATE)
    if not seed:
        raise InputError(
            f"`{path}` holds no private key",
            hints=("`mlbuild key new` makes one; a file that ends in `.pub` is the public one",),
        )
    return PrivateKey(name, seed)


def write_private(path: str, key: PrivateKey, *, public: PublicKey) -> None:
    """Write a new private key, for its owner alone, and beside it the public one, `PATH.pub`.

    Raises InputError where there is a file already, HostError where it cannot be written.
    """
    for place in (path, f"{path}.pub"):
        if os.path.lexists(place):
            raise InputError(
                f"there is a file `{place}` already, and no key is ever overwritten",
                hints=("give the new key another name, or another place with `--out`",),
            )
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        _write_new(path, key.line(), mode=0o600)
        _write_new(f"{path}.pub", f"{public}\n", mode=0o644)
    except OSError as error:
        raise HostError(f"cannot write `{path}`: {error.strerror}") from error


def public_keys(folder: str) -> list[tuple[str, PublicKey]]:
    """Return the paths of the private keys in `folder` and their public ones, sorted by path."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    found = []
    for name in names:
        path = os.path.join(folder, name.removesuffix(".pub"))
        if name.endswith(".pub") and os.path.isfile(path):
            found.append((path, read_public(path)))
    return found


def read_public(path: str) -> PublicKey:
    """Return the public key that lies beside the private key at `path`."""
    try:
        with open(f"{path}.pub", encoding="ascii", errors="replace") as file:
            return public_key(file.read(_LIMIT).strip())
    except OSError as error:
        raise InputError(
            f"cannot read `{path}.pub`: {error.strerror}",
            hints=("`mlbuild key list` shows the keys that you have",),
        ) from error


def _parted(text: str, kind: str) -> tuple[str, bytes]:
    """Return the name and the bytes in the line of a key, nothing where it is no such line."""
    found, _, rest = text.partition(":")
    encoded, _, name = rest.partition(":")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    return (
        (name, raw) if found == kind and len(raw) == SIZE and _NAME.fullmatch(name) else ("", b"")
    )


def _write_new(path: str, text: str, *, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.write(fd, text.encode())
        os.fsync(fd)
    finally:
        os.close(fd)
