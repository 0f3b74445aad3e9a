"""Builds an image from a Dockerfile by a Docker Engine, and unpacks it as image.py does.

usage: DOCKER_HOST=… image_build.py OUT --dockerfile FILE [--base TREE] [--network] [FOLDER=PATH]...

FILE is canonical (image_dockerfile.py). The context holds PATH as FOLDER and nothing else, with one
date, owner and mode, so that nothing else can reach the image. TREE is an unpacked image: what
`FROM base` means. What differs from build to build, such as times, is gone once it is unpacked.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import http.client
import io
import json
import os
import re
import socket
import sys
import tarfile
import urllib.parse
from typing import Any, BinaryIO

from image import unpack
from image_archive import CHUNK, ImageError, opened

MOMENT = 315532800  # 1980-01-01: the date of all files
BASE = "mlbuild-base.tar"  # in the context
STEP = re.compile(r"Step \d+/\d+ : (.*)")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def main() -> None:
    """Build, or say in one sentence why not."""
    words = sys.argv[1:]
    options = {"--dockerfile": "", "--base": ""}
    for name in options:
        if name in words:
            at = words.index(name)
            options[name] = words[at + 1]
            del words[at : at + 2]
    network = "--network" in words
    out, *files = [word for word in words if word != "--network"]
    host = os.environ.get("DOCKER_HOST", "")  # noqa: TID251 - a program of its own
    context = f"{out}.context"
    try:
        with open(context, "wb") as file:
            write_context(file, options["--dockerfile"], options["--base"], files)
        id_ = build(host, context, network=network)
        save(host, id_, to=context)
        with opened(context, aside=f"{out}.tar") as source:
            unpack(source, out)
    except ImageError as error:
        sys.exit(str(error))
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"the Docker Engine at `{host}` cannot be used: {error}")
    finally:
        if os.path.exists(context):
            os.remove(context)


def write_context(file: BinaryIO, dockerfile: str, base: str, files: list[str]) -> None:
    """Write the tar that the engine is given."""
    with open(dockerfile, encoding="utf-8") as source:
        text = source.read()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        if base:
            with open(f"{base}/image.json", encoding="utf-8") as source:
                env = json.load(source)["env"]
            lines = ["FROM scratch", f"ADD {BASE} /"]
            lines += [f"ENV {name}={json.dumps(value)}" for name, value in sorted(env.items())]
            text = re.sub(
                r"^FROM\s+base\b(.*)$",
                lambda found: "\n".join([lines[0] + found[1], *lines[1:]]),
                text,
                flags=re.MULTILINE | re.IGNORECASE,
            )
            add_base(tar, f"{base}/rootfs", aside=f"{dockerfile}.base")
        add_bytes(tar, "Dockerfile", text.encode())
        for word in sorted(files):
            name, _, path = word.partition("=")
            add(tar, path, name)


def add_base(tar: tarfile.TarFile, rootfs: str, *, aside: str) -> None:
    """Add the files of the base as a tar of their own, which the engine unpacks."""
    aside = os.path.join("/tmp", os.path.basename(aside))  # noqa: S108 - the sandbox's own
    with open(aside, "w+b") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as inner:
            for name in sorted(os.listdir(rootfs)):
                add(inner, f"{rootfs}/{name}", name)
        entry = tarfile.TarInfo(BASE)
        entry.size = file.tell()
        file.seek(0)
        tar.addfile(entry, file)
    os.remove(aside)


def add(tar: tarfile.TarFile, path: str, name: str) -> None:
    """Add a file, link or folder with everything below it."""
    entry = tarfile.TarInfo(name)
    entry.mtime = MOMENT
    if os.path.islink(path):
        entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(path)
        tar.addfile(entry)
    elif os.path.isdir(path):
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
        tar.addfile(entry)
        for inner in sorted(os.listdir(path)):
            add(tar, f"{path}/{inner}", f"{name}/{inner}")
    else:
        entry.size = os.path.getsize(path)
        entry.mode = 0o755 if os.access(path, os.X_OK) else 0o644
        with open(path, "rb") as file:
            tar.addfile(entry, file)


def add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file of these bytes."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def connection(host: str) -> http.client.HTTPConnection:
    """Return a connection to the engine that DOCKER_HOST names."""
    if host.startswith("unix://"):
        return UnixConnection(host.removeprefix("unix://"))
    if host.startswith("tcp://") and not host.endswith(":2376"):
        return http.client.HTTPConnection(urllib.parse.urlsplit(host).netloc)
    raise ImageError(f"a Dockerfile needs an engine at a Unix socket, not at `{host}`")


def build(host: str, context: str, *, network: bool) -> str:
    """Have the engine build; return the id of the image."""
    query = {"networkmode": "default" if network else "none", "rm": "1", "forcerm": "1"}
    engine = connection(host)
    with open(context, "rb") as file:
        headers = {
            "Content-Type": "application/x-tar",
            "Content-Length": str(os.path.getsize(context)),
        }
        url = f"/build?{urllib.parse.urlencode(query)}"
        engine.request("POST", url, body=file, headers=headers)
        answer = engine.getresponse()
    id_, step = "", ""
    if answer.status >= http.client.BAD_REQUEST:
        raise ImageError(f"the Docker Engine refuses the Dockerfile: {message(answer.read())}")
    for line in answer:
        said: dict[str, Any] = json.loads(line)
        text = str(said.get("stream", ""))
        sys.stdout.write(text)
        sys.stdout.flush()
        if found := STEP.match(text):
            step = found[1]
        if "error" in said:
            raise ImageError(f"the line `{step}` of the Dockerfile failed: {said['error'].strip()}")
        id_ = (said.get("aux") or {}).get("ID", id_)
    engine.close()
    if not id_:
        raise ImageError("the Docker Engine has built no image")
    return id_


def save(host: str, id_: str, *, to: str) -> None:
    """Write the image to the file `to`, as `docker save` does, and let the engine forget it."""
    engine = connection(host)
    engine.request("GET", f"/images/{id_}/get")
    answer = engine.getresponse()
    if answer.status != http.client.OK:
        raise ImageError(f"the Docker Engine does not give the image: {message(answer.read())}")
    with open(to, "wb") as file:
        while content := answer.read(CHUNK):
            file.write(content)
    engine.close()


def message(content: bytes) -> str:
    """Return what the engine says of a failure."""
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode("utf-8", "replace")


if __name__ == "__main__":
    main()
