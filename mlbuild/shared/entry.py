"""Entry: what a shared cache keeps under a key (docs/format.md).

A Result, the listing of its tree where that is short, its manifest likewise, and signatures. They
are of the key and the Result, which names all bytes by digest; where the bytes lie is not signed.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

from mlbuild.core.action import Json
from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.manifest import key_of
from mlbuild.core.result import Content, Result, decode, encode
from mlbuild.core.tree import MAX_DEPTH, Tree, digest_tree, safe_name, tree_of
from mlbuild.core.tree import Entry as TreeEntry
from mlbuild.core.tree import Kind as TreeKind
from mlbuild.errors import InputError
from mlbuild.shared.base import SharedTrouble
from mlbuild.shared.fields import Fields, field, number, wrapped

MAGIC = b"mlbuild entry 1 "
DOMAIN = b"mlbuild shared result 1\n"
LIMIT = 8 << 20  # bytes of an entry
RESULT_LIMIT = 4 << 20
LISTING_LIMIT = 72 * 1024  # bytes of a listing that travels with its entry
MANIFEST_LIMIT = 16 * 1024  # bytes of a manifest that does
_SIGNATURES = 16
_SIGNATURE_LIMIT = 1024  # bytes of a signature, or of the name of its key
_MOST = 1 << 62
_NESTED = 64  # lists and objects in each other: the next to read them may have less stack left
_HASH = 64  # digits
_HEX = frozenset("0123456789abcdef")


class Signer(Protocol):
    """Signs results (`signing.py`)."""

    key_id: str

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`."""
        ...


class Judge(Protocol):
    """Decides whose results count (`signing.py`)."""

    def accepts(self, message: bytes, signatures: Sequence[tuple[str, bytes]]) -> bool:
        """Say whether one of `signatures`, pairs of key id and signature, is to be trusted."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept under a key. What is empty has an object of its own, or is not there."""

    result: Result
    listing: bytes = b""
    manifest: bytes = b""
    signatures: tuple[tuple[str, bytes], ...] = ()


def message_of(key: str, result: bytes) -> bytes:
    """Return what is signed: the key and the digest of the encoded Result."""
    return b"%b%b\n%b\n" % (DOMAIN, key.encode(), digest_of(result).hash.encode())


def signed(entry: Entry, key: str, *, signers: Iterable[Signer]) -> Entry:
    """Return the entry with the signatures of `signers`."""
    message = message_of(key, encode(entry.result))
    found = tuple((signer.key_id, signer.sign(message)) for signer in signers)
    return Entry(entry.result, entry.listing, entry.manifest, found)


def accepted(entry: Entry, key: str, *, judge: Judge | None) -> bool:
    """Say whether the result counts: others may have it, and somebody trusted vouches for it."""
    if not (entry.result.hermetic and entry.result.share):
        return False
    return judge is None or judge.accepts(message_of(key, encode(entry.result)), entry.signatures)


def encode_entry(entry: Entry) -> bytes:
    """Return the bytes of an entry; raise SharedTrouble for a result too large to be shared."""
    result = encode(entry.result)
    if len(result) > RESULT_LIMIT:
        raise SharedTrouble(
            "refused",
            f"a result of {len(result)} bytes is too large for the shared cache",
            cure="write fewer metrics or outputs",
        )
    parts = [field(result), field(entry.manifest), field(entry.listing)]
    parts.append(number(len(entry.signatures)))
    parts.extend(field(name.encode()) + field(it) for name, it in entry.signatures)
    return wrapped(b"".join(parts), magic=MAGIC)


def decode_entry(content: bytes, key: str) -> Entry:
    """Read the entry of `key`; raise SharedTrouble when anything is not as it must be.

    Whether its result is `accepted` is another question.
    """
    fields = Fields.wrapped(content, magic=MAGIC, limit=LIMIT)
    result = _result(fields.field(limit=RESULT_LIMIT))
    manifest = fields.field(limit=MANIFEST_LIMIT)
    if manifest and key_of(manifest) != key:
        raise SharedTrouble("damaged", "it holds the manifest of another key")
    listing = fields.field(limit=LISTING_LIMIT)
    signatures = tuple(
        (_text(fields.field(limit=_SIGNATURE_LIMIT)), fields.field(limit=_SIGNATURE_LIMIT))
        for _ in range(fields.number(limit=_SIGNATURES))
    )
    fields.end()
    return Entry(result, listing, manifest, signatures)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise SharedTrouble("damaged", "the name of a key is no text") from error


def _result(stored: bytes) -> Result:
    """Read a Result that anybody may have written."""
    try:
        result = decode(stored)
        if _is_sane(result) and encode(result) == stored:
            return result
    except (InputError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SharedTrouble("damaged", "its result cannot be read") from error
    raise SharedTrouble("damaged", "its result holds what cannot be")


def _is_sane(result: Result) -> bool:
    """Say whether every field has the type and range that it must have."""
    paths = [path for path, _ in result.outputs]
    digests = [result.tree, *(content.digest for _, content in result.outputs)]
    if result.log is not None:
        digests.append(result.log)
    return (
        _all_are(str, (*paths, result.executor, *result.undeclared, *result.gpus))
        and _all_are(bool, (result.hermetic, result.share))
        and _all_are(int, (result.peak_memory,))
        and all(_is_amount(it) for it in (result.seconds, result.cpu_seconds, result.peak_memory))
        and all(_is_path(path) for path in paths)
        and len(set(paths)) == len(paths)
        and all(content.kind in {"f", "x", "t"} for _, content in result.outputs)
        and all(_is_digest(digest) for digest in digests)
        and (result.metrics is None or _is_finite(result.metrics))
    )


def _all_are(kind: type, values: Iterable[object]) -> bool:
    return all(type(value) is kind for value in values)


def _is_path(path: str) -> bool:
    parts = path.split("/")
    return len(parts) <= MAX_DEPTH and all(safe_name(part) for part in parts)


def _is_digest(digest: Digest) -> bool:
    return len(digest.hash) == _HASH and set(digest.hash) <= _HEX and 0 <= digest.size < _MOST


def _is_amount(amount: object) -> bool:
    """Say whether it is a number, finite and not negative."""
    return type(amount) in {int, float} and 0 <= cast(float, amount) < _MOST


def _is_finite(metrics: object) -> bool:
    """Say whether these are metrics whose numbers are finite, nested no deeper than people do."""
    if not isinstance(metrics, dict):
        return False
    level: list[Json] = [metrics]
    for _ in range(_NESTED):
        if not all(math.isfinite(it) for it in level if isinstance(it, float)):
            return False
        inside = [
            it.values() if isinstance(it, dict) else it
            for it in level
            if isinstance(it, dict | list)
        ]
        level = [one for it in inside for one in it]
    return not level


def is_of(tree: Tree, outputs: Sequence[tuple[str, Content]]) -> bool:
    """Say whether the outputs that a result names are those that its tree holds."""
    found = {entry.path: entry for entry in tree.entries}
    for path, content in outputs:
        entry = found.get(path)
        if content.kind == "t":
            inside = [replace(it, path=it.path[len(path) + 1 :]) for it in _inside(tree, path)]
            if not inside and (entry is None or entry.kind is not TreeKind.EMPTY):
                return False
            if not _is_tree(inside, content.digest):
                return False
        elif entry is None or entry.digest != content.digest or entry.kind.value != content.kind:
            return False
    return True


def _inside(tree: Tree, path: str) -> list[TreeEntry]:
    return [entry for entry in tree.entries if entry.path.startswith(f"{path}/")]


def _is_tree(entries: Iterable[TreeEntry], digest: Digest) -> bool:
    try:
        return digest_tree(tree_of(entries)) == digest
    except InputError:  # a symlink leads from one output to another
        return False
