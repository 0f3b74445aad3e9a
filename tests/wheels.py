"""Tiny packages made on the spot, and a package index of this host to fetch them from."""

import base64
import hashlib
import html
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True)
class Packed:
    """A file that an index has."""

    name: str
    version: str
    file: str
    sha256: str

    @property
    def line(self) -> str:
        """Return its line in a requirements.txt."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}\n"


def wheel(
    folder: Path,
    name: str,
    files: Mapping[str, str] | None = None,
    *,
    version: str = "1.0",
    tag: str = "py3-none-any",
    metadata: str = "",
) -> Packed:
    """Write a wheel into `folder`; without `files` it has one module that knows its version."""
    info = f"{name}-{version}.dist-info"
    content = {
        **(files or {f"{name}.py": f"VERSION = {version!r}\n"}),
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}"
        ),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-say = {name}:say\n",
    }
    record = [f"{path},{fingerprint(text.encode())}\n" for path, text in content.items()]
    content[f"{info}/RECORD"] = "".join(record) + f"{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as packed:
        for inner, text in content.items():
            packed.writestr(zipfile.ZipInfo(inner, (2020, 2, 2, 2, 2, 2)), text)
    return _packed(name, version, path)


BACKEND = """\
import os, zipfile

METADATA = "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
WHEEL = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"

def build_wheel(folder, config_settings=None, metadata_directory=None):
    {first}
    info = "{name}-{version}.dist-info"
    with zipfile.ZipFile(os.path.join(folder, "{name}-{version}-py3-none-any.whl"), "w") as packed:
        packed.writestr("{name}.py", "VERSION = '{version}'\\n")
        packed.writestr(info + "/METADATA", METADATA)
        packed.writestr(info + "/WHEEL", WHEEL)
        packed.writestr(info + "/RECORD", "")
    return "{name}-{version}-py3-none-any.whl"
"""


def sdist(folder: Path, name: str, *, version: str = "1.0", first: str = "pass") -> Packed:
    """Write a source distribution whose build does `first`, and needs nothing but itself."""
    project = (
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\n'
    )
    files = {
        "pyproject.toml": project,
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "backend.py": BACKEND.format(name=name, version=version, first=first),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for inner, text in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{inner}")
            member.size = len(text)
            packed.addfile(member, io.BytesIO(text.encode()))
    return _packed(name, version, path)


def _packed(name: str, version: str, path: Path) -> Packed:
    return Packed(name, version, path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def fingerprint(content: bytes) -> str:
    """Return hash and size as a RECORD has them."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return f"sha256={digest.decode()},{len(content)}"


@dataclass
class Index:
    """A package index (PEP 503) over the files of a folder."""

    folder: Path
    url: str = ""
    yanked: Mapping[str, str] | None = None  # file -> reason
    asked: list[str] | None = None  # paths that were asked for

    def page(self, name: str) -> str:
        """Return the page of a package."""
        lines = []
        for path in sorted(self.folder.iterdir()):
            if path.name.partition("-")[0].lower().replace("_", "-") == name:
                sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
                why = (self.yanked or {}).get(path.name)
                yanked = "" if why is None else f' data-yanked="{html.escape(why)}"'
                lines.append(
                    f'<a href="/files/{path.name}#sha256={sha256}"{yanked}>{path.name}</a>'
                )
        return "\n".join(lines)


@contextmanager
def serving(folder: Path) -> Iterator[Index]:
    """Serve the files of `folder` as an index."""
    index = Index(folder, asked=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert index.asked is not None
            index.asked.append(self.path)
            parts = self.path.strip("/").split("/")
            if parts[0] == "simple" and len(parts) == 2:
                content = index.page(parts[1]).encode()
                kind = "text/html"
            else:
                path = folder / parts[-1]
                content = path.read_bytes() if parts[0] == "files" and path.is_file() else b""
                kind = "application/octet-stream"
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815 - uv looks how large a wheel is

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
