"""Docker images made of unpacked ones: one layer that holds exactly what a sandbox would show.

The same tree gives the same bytes, and so the same image id, on every machine.
"""

import hashlib
import io
import json
import os
import tarfile
from typing import IO

from mlbuild.errors import HostError
from mlbuild.exec.docker_engine import Engine, engine_errors
from mlbuild.exec.root import Root
from mlbuild.exec.sandbox import EPOCH

_MADE = "1980-01-01T00:00:00Z"
_CHUNK = 1 << 20


def loaded(engine: Engine, root: Root, *, folder: str, scratch: str) -> str:
    """Return the id of `root` as an image of the engine; give it to the engine if it lacks it.

    The id is remembered in `folder`; `scratch` is where an archive may be written.
    """
    id_ = _remembered(folder, root)
    if id_ and _has(engine, id_):
        return id_
    return load(engine, root, folder=folder, scratch=scratch)


def load(engine: Engine, root: Root, *, folder: str, scratch: str) -> str:
    """Give `root` to the engine; return its id as an image. Raises HostError."""
    path = f"{scratch}/image.tar"
    try:
        id_ = write_archive(root, path)
        with open(path, "rb") as archive, engine_errors("it could not load the image"):
            # An answer may take as long as it takes to write the image.
            for line in engine.api.load_image(archive):
                if "error" in line:
                    raise HostError(f"the Docker Engine could not load an image: {line['error']}")
    finally:
        if os.path.exists(path):
            os.unlink(path)
    if not _has(engine, id_):
        raise HostError(f"the Docker Engine has loaded another image than `{id_}`")
    _remember(folder, root, id_)
    return id_


def write_archive(root: Root, path: str) -> str:
    """Write what `docker load` takes to the new file `path`; return the image's id."""
    layer = f"{path}.layer"
    try:
        with open(layer, "xb") as file:
            _write_layer(root.files, file)
        with open(layer, "rb") as file:
            hash_ = hashlib.file_digest(file, "sha256").hexdigest()
        config = _config(root, f"sha256:{hash_}")
        id_ = hashlib.sha256(config).hexdigest()
        names = [{"Config": f"{id_}.json", "RepoTags": None, "Layers": [f"{hash_}/layer.tar"]}]
        with tarfile.open(path, "x", format=tarfile.GNU_FORMAT) as tar:
            _add(tar, f"{id_}.json", config)
            _add(tar, "manifest.json", json.dumps(names).encode())
            entry = tarfile.TarInfo(f"{hash_}/layer.tar")
            entry.size = os.path.getsize(layer)
            with open(layer, "rb") as file:
                tar.addfile(entry, file)
    finally:
        if os.path.exists(layer):
            os.unlink(layer)
    return f"sha256:{id_}"


def _config(root: Root, layer: str) -> bytes:
    """Return the config of the image, the bytes that its id is the hash of."""
    env = [f"{name}={value}" for name, value in sorted(root.env.items())]
    content = {
        "architecture": root.architecture,
        "config": {"Env": env},
        "created": _MADE,
        "history": [{"created": _MADE, "created_by": "mlbuild"}],
        "os": "linux",
        "rootfs": {"diff_ids": [layer], "type": "layers"},
    }
    return json.dumps(content, sort_keys=True).encode()


def _write_layer(files: str, to: IO[bytes]) -> None:
    """Write all below the folder `files` as a tar, in one order, with one date and owner."""
    with tarfile.open(fileobj=to, mode="w", format=tarfile.GNU_FORMAT, errorlevel=2) as tar:
        for folder, folders, names in os.walk(files):
            folders.sort()
            for name in sorted({*names, *(one for one in folders if _is_link(folder, one))}):
                _write_entry(tar, f"{folder}/{name}", files)
            for name in folders:
                if not _is_link(folder, name):
                    _write_entry(tar, f"{folder}/{name}", files)


def _is_link(folder: str, name: str) -> bool:
    return os.path.islink(f"{folder}/{name}")


def _write_entry(tar: tarfile.TarFile, path: str, files: str) -> None:
    found = os.lstat(path)
    entry = tarfile.TarInfo(os.path.relpath(path, files))
    entry.mtime = EPOCH
    if os.path.islink(path):
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, os.readlink(path), 0o777
        tar.addfile(entry)
    elif os.path.isdir(path):
        # Docker mounts memory there and gives it the mode of the folder below.
        mode = 0o1777 if entry.name == "tmp" else 0o555
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        tar.addfile(entry)
    else:
        entry.size, entry.mode = found.st_size, 0o555 if found.st_mode & 0o100 else 0o444
        with open(path, "rb") as file:
            tar.addfile(entry, file)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _has(engine: Engine, id_: str) -> bool:
    from docker import errors  # noqa: PLC0415 - start-up

    with engine_errors("it could not say whether it has an image"):
        try:
            engine.api.inspect_image(id_)
        except errors.ImageNotFound:
            return False
    return True


def _remembered(folder: str, root: Root) -> str:
    try:
        with open(f"{folder}/image-{root.name}", encoding="ascii") as file:
            found = file.read()
    except (OSError, UnicodeDecodeError):
        return ""
    return found if len(found) == len("sha256:") + 64 and found.startswith("sha256:") else ""


def _remember(folder: str, root: Root, id_: str) -> None:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    fresh = f"{folder}/image-{root.name}.{os.getpid()}"
    with open(fresh, "w", encoding="ascii") as file:
        file.write(id_)
    os.replace(fresh, f"{folder}/image-{root.name}")
