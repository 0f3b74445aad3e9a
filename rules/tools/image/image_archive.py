"""Image archives: what `docker save` writes and OCI layouts, as a tar or as a folder."""
# ruff: noqa: INP001 - a module of the program image.py

import gzip
import hashlib
import json
import os
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol

CHUNK = 1 << 20
FREE = 4 << 30  # bytes that any image may unpack to; above, the ratio counts
RATIO = 100  # bytes unpacked for each byte of the archive
LARGEST_TEXT = 16 << 20  # bytes of a manifest or config
MOST_LAYERS = 1000
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
BROKEN = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class ImageError(Exception):
    """What no honest tool makes, or what we cannot use."""


class Files(Protocol):
    """The files of an archive."""

    def open(self, name: str) -> IO[bytes]:
        """Open a file; raise ImageError when there is none of that name."""


@dataclass(frozen=True)
class Layer:
    """One layer: a file of the archive, and what it is."""

    name: str  # in the archive
    diff_id: str  # digest of its content once it is uncompressed
    digest: str = ""  # digest of the file itself, "" where nobody says


@dataclass(frozen=True)
class Image:
    """What an archive says of its image."""

    name: str  # digest of its config
    architecture: str
    env: Mapping[str, str]
    layers: tuple[Layer, ...]


class Folder:
    """An archive that is a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def open(self, name: str) -> IO[bytes]:
        """Open a file; raise ImageError when there is none of that name."""
        try:
            return open(os.path.join(self.path, checked_name(name)), "rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise ImageError(f"it lacks `{name}`") from None


class Tar:
    """An archive that is a tar."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self.tar = tar
        self.members = {os.path.normpath(one.name): one for one in tar if not one.isdir()}

    def open(self, name: str) -> IO[bytes]:
        """Open a file; raise ImageError when there is none of that name."""
        member = self.members.get(os.path.normpath(checked_name(name)))
        # Older versions of Docker write a layer that several images share as a link.
        if member is not None and member.issym():
            beside = os.path.join(os.path.dirname(member.name), member.linkname)
            member = self.members.get(os.path.normpath(beside))
        content = self.tar.extractfile(member) if member and member.isreg() else None
        if content is None:
            raise ImageError(f"it lacks `{name}`")
        return content


@dataclass(frozen=True)
class Source:
    """An opened archive."""

    files: Files
    limit: int  # bytes that its image may unpack to

    def text(self, name: str, digest: str = "") -> Any:
        """Return the JSON in a file, which has `digest` where somebody says so."""
        with self.files.open(name) as file:
            content = file.read(LARGEST_TEXT + 1)
        if len(content) > LARGEST_TEXT:
            raise ImageError(f"`{name}` is absurdly large")
        if digest and f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise ImageError(f"`{name}` is not what its digest says: it is damaged")
        try:
            return json.loads(content)
        except ValueError:
            raise ImageError(f"`{name}` is not JSON") from None

    @contextmanager
    def layer(self, layer: Layer) -> "Iterator[IO[bytes]]":
        """Yield the uncompressed tar of a layer; once it was read, check what it was."""
        with self.files.open(layer.name) as file:
            packed = Hashing(file)
            content = Hashing(uncompressed(packed, layer.name))
            try:
                yield content  # type: ignore[misc]  # tarfile only reads
                content.drain()
                packed.drain()
            except BROKEN as error:
                raise ImageError(
                    f"the layer `{layer.name}` is truncated or damaged: {error}"
                ) from None
        if layer.digest and packed.digest != layer.digest:
            raise ImageError(f"the layer `{layer.name}` is damaged: its digest is {packed.digest}")
        if content.digest != layer.diff_id:
            raise ImageError(
                f"the layer `{layer.name}` is not what the image says: it has {content.digest}, "
                f"wanted {layer.diff_id}"
            )


class Hashing:
    """A stream that hashes what is read."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, none at the end."""
        content: bytes = self.stream.read(size)
        self.hash.update(content)
        return content

    def drain(self) -> None:
        """Read to the end."""
        while self.read(CHUNK):
            pass

    @property
    def digest(self) -> str:
        """The digest of what was read so far."""
        return f"sha256:{self.hash.hexdigest()}"


class Started:
    """A stream whose first bytes were read already."""

    def __init__(self, start: bytes, stream: Any) -> None:
        self.start = start
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, none at the end."""
        if not self.start:
            content: bytes = self.stream.read(size)
            return content
        size = len(self.start) if size < 0 else size
        begun, self.start = self.start[:size], self.start[size:]
        return begun


def uncompressed(stream: Any, name: str) -> Any:
    """Return a stream of what is in `stream`, which may be gzip."""
    start = stream.read(len(ZSTD))
    whole = Started(start, stream)
    if start.startswith(ZSTD):
        raise ImageError(
            f"the layer `{name}` is compressed with zstd, which is not read here; "
            "`skopeo copy --dest-compress-format gzip` writes another archive"
        )
    return gzip.open(whole) if start.startswith(GZIP) else whole  # type: ignore[call-overload]


@contextmanager
def opened(path: str, *, aside: str) -> Iterator[Source]:
    """Open an archive; a compressed one is written to the file `aside` meanwhile."""
    if os.path.isdir(path):
        size = sum(
            os.path.getsize(os.path.join(folder, name))
            for folder, _, names in os.walk(path)
            for name in names
        )
        yield Source(Folder(path), max(FREE, RATIO * size))
        return
    limit = max(FREE, RATIO * os.path.getsize(path))
    try:
        with open(path, "rb") as file:
            is_packed = file.read(len(GZIP)) == GZIP
        if is_packed:
            unzip(path, aside, limit=limit)
        with tarfile.open(aside if is_packed else path, mode="r:") as tar:
            yield Source(Tar(tar), limit)
    except BROKEN as error:
        raise ImageError(f"it is truncated, or no archive of a container image: {error}") from None
    finally:
        if os.path.exists(aside):
            os.remove(aside)


def unzip(path: str, to: str, *, limit: int) -> None:
    """Write what the gzip file `path` holds to the new file `to`."""
    written = 0
    with gzip.open(path) as source, open(to, "wb") as target:
        while content := source.read(CHUNK):
            written += len(content)
            if written > limit:
                raise ImageError(f"it unpacks to more than {limit >> 20} MiB")
            target.write(content)


def checked_name(name: Any) -> str:
    """Refuse a name that could lead out of the archive."""
    if not isinstance(name, str) or name.startswith("/") or ".." in name.split("/"):
        raise ImageError(f"it names the file `{name}`, which would lie outside of it")
    return name


def image_in(source: Source, *, architecture: str) -> Image:
    """Return the one image of an archive for machines of an `architecture`."""
    try:
        try:
            index = source.text("index.json")
        except ImageError:
            return docker_image(source, architecture=architecture)
        return oci_image(source, index, architecture=architecture)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ImageError(f"its description is malformed ({error!r})") from None


def oci_image(source: Source, index: Any, *, architecture: str) -> Image:
    """Return the image of an OCI layout."""
    entry = chosen(index["manifests"], architecture)
    manifest = source.text(blob(entry["digest"]), entry["digest"])
    while manifest.get("mediaType", entry.get("mediaType")) in INDEXES or "manifests" in manifest:
        entry = chosen(manifest["manifests"], architecture)
        manifest = source.text(blob(entry["digest"]), entry["digest"])
    name = manifest["config"]["digest"]
    config = source.text(blob(name), name)
    layers = [(blob(one["digest"]), one["digest"]) for one in manifest["layers"]]
    return described(config, name, layers, architecture=architecture)


def docker_image(source: Source, *, architecture: str) -> Image:
    """Return the image that `docker save` wrote."""
    try:
        manifest = source.text("manifest.json")
    except ImageError as error:
        if "lacks" in str(error):
            raise ImageError(
                "it is no archive of a container image: it has neither `manifest.json` "
                "(docker save) nor `index.json` (OCI layout)"
            ) from None
        raise
    if len(manifest) != 1:
        raise ImageError(f"it holds {len(manifest)} images; save one alone")
    path = manifest[0]["Config"]
    stem = os.path.basename(path).removesuffix(".json")
    digest = f"sha256:{stem}" if DIGEST.fullmatch(f"sha256:{stem}") else ""
    config = source.text(path, digest)
    layers = [(one, "") for one in manifest[0]["Layers"]]
    return described(config, digest or path, layers, architecture=architecture)


def chosen(entries: Any, architecture: str) -> Any:
    """Return the one of several manifests that is meant for this machine."""
    images = [
        one
        for one in entries
        if "vnd.docker.reference.type" not in (one.get("annotations") or {})  # attestations
    ]
    fitting = [
        one
        for one in images
        if (one.get("platform") or {}).get("architecture", architecture) == architecture
        and (one.get("platform") or {}).get("os", "linux") == "linux"
    ]
    if len({one["digest"] for one in fitting}) == 1:
        return fitting[0]
    if fitting:
        raise ImageError(f"it holds {len(fitting)} images for {architecture}; save one alone")
    have = sorted({(one.get("platform") or {}).get("architecture", "?") for one in images})
    raise ImageError(f"it holds no image for {architecture}, only for {', '.join(have) or 'none'}")


def blob(digest: str) -> str:
    """Return where an OCI layout has the bytes of a digest."""
    if not DIGEST.fullmatch(digest):
        raise ImageError(f"`{digest}` is no sha256 digest")
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def described(config: Any, name: str, layers: list[tuple[str, str]], *, architecture: str) -> Image:
    """Return what a config says, with the layers as the archive has them."""
    found = config.get("architecture") or architecture
    if found != architecture or config.get("os", "linux") != "linux":
        raise ImageError(
            f"it is made for {config.get('os', 'linux')} on {found}, and this host is linux on "
            f"{architecture}"
        )
    diff_ids = config["rootfs"]["diff_ids"]
    if len(diff_ids) != len(layers) or len(layers) > MOST_LAYERS:
        raise ImageError(f"it has {len(layers)} layers, and its config names {len(diff_ids)}")
    env: dict[str, str] = {}
    for text in (config.get("config") or {}).get("Env") or []:
        variable, _, value = text.partition("=")
        if not variable or "\0" in text:
            raise ImageError(f"its config has the environment variable {text!r}")
        env[variable] = value
    pairs = zip(layers, diff_ids, strict=True)
    return Image(
        name,
        found,
        env,
        tuple(Layer(file, diff_id, digest) for (file, digest), diff_id in pairs),
    )
