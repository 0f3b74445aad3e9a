"""A shared cache whose objects a test rewrites: what honest machines put there, and its readers."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from mlbuild.core import result as results
from mlbuild.core import tree as trees
from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.result import Content, Result
from mlbuild.core.tree import Entry, Kind, Tree, tree_of
from mlbuild.shared import entry as entries
from mlbuild.shared.base import Object, SharedTrouble
from mlbuild.shared.bucket_cache import BucketCache
from mlbuild.shared.entry import Signer
from mlbuild.shared.fields import field as framed
from mlbuild.shared.fields import number, sealed, wrapped
from mlbuild.shared.listing import decode_listing
from mlbuild.shared.signing import Judge

MANIFEST = b'{"what": "the manifest of an action"}'
KEY = digest_of(MANIFEST).hash
OTHER_MANIFEST = b'{"what": "another one"}'
OTHER = digest_of(OTHER_MANIFEST).hash
MISS, GONE, TRUE = "miss", "gone", "true"


class Memory:
    """A bucket in memory."""

    def __init__(self, objects: Mapping[str, bytes] | None = None) -> None:
        self.objects = dict(objects or {})

    def read(self, name: str, *, start: int = 0, size: int = -1, limit: int = -1) -> bytes | None:
        content = self.objects.get(name)
        if content is None:
            return None
        part = content[start:] if size < 0 else content[start : start + size]
        if 0 <= limit < len(part):
            raise SharedTrouble("damaged", f"`{name}` is longer than {limit} bytes")
        return part

    def write(self, name: str, content: bytes, *, fresh: bool = False) -> bool:
        if fresh and name in self.objects:
            return False
        self.objects[name] = content
        return True

    def names(self, prefix: str) -> Iterator[Object]:
        for name in sorted(self.objects):
            if name.startswith(prefix):
                yield Object(name, len(self.objects[name]), 0.0)

    def remove(self, names: list[str]) -> None:
        for name in names:
            self.objects.pop(name, None)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Truth:
    """What an honest machine has: files below `out`, and the result that made them."""

    files: Mapping[str, bytes]
    tree: Tree
    result: Result
    folder: Path

    @classmethod
    def of(cls, files: Mapping[str, bytes], folder: Path) -> "Truth":
        for path, content in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        tree = tree_of([Entry(path, Kind.FILE, digest_of(it)) for path, it in files.items()])
        outputs = tuple((path, Content("f", digest_of(it))) for path, it in sorted(files.items()))
        result = Result(outputs, trees.digest_tree(tree), metrics={"loss": 0.5}, seconds=3.0)
        return cls(files, tree, result, folder)


def small_files() -> dict[str, bytes]:
    return {"out/model.txt": b"weights\n" * 40, "out/log.txt": b"done\n"}


def packed_files() -> dict[str, bytes]:
    random = Random(1)  # noqa: S311 - seeded
    return {f"out/{at:03}.bin": random.randbytes(1024 + at) for at in range(120)}


def large_files() -> dict[str, bytes]:
    noise = Random(2).randbytes(9 << 20)  # noqa: S311 - seeded
    return {"out/model.bin": noise, "out/zeros": bytes(2 << 20)}


@dataclass
class Cloud:
    """A bucket, and what is in truth behind KEY."""

    bucket: Memory
    truth: Truth
    signers: tuple[Signer, ...] = ()
    reports: list[str] = field(default_factory=list)

    def cache(self, *, judge: Judge | None = None, scope: str = "main") -> BucketCache:
        """Return what a machine sees that knows nothing yet."""
        return BucketCache(
            self.bucket,
            scope=scope,
            signer=self.signers[0] if self.signers else None,
            judge=judge,
            report=lambda name, _content, why: self.reports.append(f"{name}: {why}"),
        )

    def push(self, cache: BucketCache) -> None:
        """Give the truth, as a machine does that ran the action."""
        cache.send_tree(self.truth.tree, str(self.truth.folder))
        cache.publish(KEY, self.truth.result, manifest=MANIFEST)

    def seen(self, cache: BucketCache, folder: Path) -> str:
        """Return what a reader gets: "true", "miss", "gone", or the kind of its trouble.

        Fails when it gets anything that is not the truth.
        """
        folder.mkdir()
        try:
            result = cache.lookup(KEY)
            if result is None:
                return MISS
            tree = cache.bring_tree(result.tree, str(folder))
        except SharedTrouble as trouble:
            return trouble.kind
        if tree is None:
            return GONE
        assert result == self.truth.result
        found = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        assert found == self.truth.files
        return TRUE

    # what a liar needs

    def names(self, kind: str) -> list[str]:
        """Return the names of the objects of a kind: "ac", "packs", …"""
        return [name for name in sorted(self.bucket.objects) if f"/{kind}/" in name]

    @property
    def entry(self) -> bytes:
        return self.bucket.objects[entry_name(KEY)]

    @entry.setter
    def entry(self, content: bytes) -> None:
        self.bucket.objects[entry_name(KEY)] = content

    def forge(
        self,
        *,
        result: bytes | None = None,
        listing: bytes | None = None,
        manifest: bytes | None = None,
        signatures: tuple[tuple[str, bytes], ...] | None = None,
    ) -> None:
        """Rewrite parts of the entry, with all checksums right."""
        now = entries.decode_entry(self.entry, KEY)
        told = now.manifest if manifest is None else manifest
        signed = now.signatures if signatures is None else signatures
        parts = [
            framed(results.encode(now.result) if result is None else result),
            framed(told),
            framed(now.listing if listing is None else listing),
            number(len(signed)),
        ]
        parts += [framed(name.encode()) + framed(it) for name, it in signed]
        self.entry = wrapped(b"".join(parts), magic=entries.MAGIC)

    def forge_tree(self, content: bytes, **changes: object) -> None:
        """Let the entry be of the tree with these bytes, whatever they are."""
        listing = listing_of(content)
        result = replace(self.truth.result, tree=digest_of(content), outputs=(), **changes)
        self.forge(result=results.encode(result), listing=listing)

    def listing(self) -> bytes:
        """Return the listing of the tree, wherever it lies."""
        within = entries.decode_entry(self.entry, KEY).listing
        if within:
            return within
        (name,) = self.names("trees")
        return self.bucket.objects[name]

    def forge_listing(self, content: bytes) -> None:
        """Put another listing where that of the tree lies."""
        if entries.decode_entry(self.entry, KEY).listing:
            self.forge(listing=content)
        else:
            (name,) = self.names("trees")
            self.bucket.objects[name] = content

    def decoded(self) -> object:
        return decode_listing(self.listing(), self.truth.result.tree)


def entry_name(key: str, scope: str = "main") -> str:
    return f"{scope}/ac/{key[:2]}/{key}"


def listing_of(tree: bytes, inline: bytes = b"") -> bytes:
    """Return the listing of any bytes that claim to be a tree."""
    from mlbuild.shared.listing import MAGIC  # noqa: PLC0415 - of the format, for liars only

    body = framed(tree) + number(0) + number(0) + b"\1" + framed(inline)
    return sealed(number(len(body)) + b"\0" + body, magic=MAGIC)


def stored(body: bytes) -> bytes:
    """Return any bytes as a Result whose checksum is right."""
    return results.MAGIC + digest_of(body).hash.encode() + b"\n" + body


def body_of(result: Result) -> dict[str, object]:
    """Return the fields of a Result as they are stored."""
    found: dict[str, object] = json.loads(results.encode(result).partition(b"\n")[2])
    return found


def raw_tree(*listed: Entry) -> bytes:
    """Return the bytes of a tree that nobody checked."""
    return trees.encode(Tree(listed))


Lie = Callable[[Cloud], None]
NOTHING = Digest(digest_of(b"").hash, 0)
