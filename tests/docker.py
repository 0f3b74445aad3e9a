"""A real Docker Engine for tests, and an image made of this host's own programs."""

import atexit
import fcntl
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.harness import REPOSITORY

PROGRAMS = (
    "basename cat chmod cp cut date dirname du echo env expr false find grep head "
    "hostname id kill ln ls mkdir mknod mount mv nohup od pgrep printf readlink rm "
    "rmdir sed seq setsid sha256sum sleep sort stat tail tee test touch tr true uname "
    "uniq unshare wc xargs"
)
UNUSED = ("_tkinter.", "_test")  # modules of Python, by the beginning of their names
LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
_IN_NAMESPACES = 'ip link set lo up; [ -z "$0" ] || hostname "$0"; exec "$@"'
STARTS_WITHIN = 30  # seconds


def why_no_engine() -> str:
    """Say why no engine can be started here, "" when one can."""
    if os.geteuid() != 0:
        return "a Docker Engine of our own needs root"
    if shutil.which("dockerd", path="/usr/sbin:/usr/bin:/sbin:/usr/local/bin") is None:
        return "no dockerd is installed (apt-get install docker.io)"
    return ""


class Engine:
    """An engine of our own, in a network of its own: it cannot touch another one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix://{folder}/docker.sock"
        self.host = ""  # another name of this host, for this engine alone
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ["dockerd", "--data-root", f"{self.folder}/data", "--exec-root"]
        words += [f"{self.folder}/exec", "--pidfile", f"{self.folder}/pid", "-H", self.address]
        words += ["--bridge", "none", "--iptables=false", "--ip6tables=false"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "-n", "-u", "sh", "-c", _IN_NAMESPACES, self.host, *words],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PATH": f"/usr/sbin:/sbin:{os.environ['PATH']}"},
                start_new_session=True,
            )
        for _ in range(STARTS_WITHIN * 20):
            if self.docker("version").returncode == 0:
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it, or kill it."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def docker(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run the client."""
        return subprocess.run(
            ["docker", "-H", self.address, *words], capture_output=True, text=True, check=False
        )

    def containers(self) -> list[str]:
        """Return the ids of all containers there are."""
        return self.docker("ps", "-aq").stdout.split()


def engine() -> Iterator[Engine]:
    """Yield one engine for all tests of this process; skip where there can be none."""
    if why_not := why_no_engine():
        pytest.skip(why_not)
    folder = Path(tempfile.mkdtemp(prefix="mlbuild-docker-", dir="/tmp"))
    made = Engine(folder)
    try:
        try:
            made.start()
        except RuntimeError as error:
            pytest.skip(f"no Docker Engine starts here: {str(error)[-300:]}")
        yield made
    finally:
        made.stop()
        _unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


class Registry:
    """A registry of our own, over http on this host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = self.folder / "registry.yml"
        settings.write_text(
            f"version: 0.1\nlog: {{level: warn}}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.folder}/registry}}}}\n"
            f"http: {{addr: '127.0.0.1:{self.port}'}}\n",
            encoding="utf-8",
        )
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(settings)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(STARTS_WITHIN * 20):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError("no registry starts here")

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def push(self, saved: Path) -> tuple[str, str]:
        """Upload the image of an archive with one layer; return its name and its digest."""
        with tarfile.open(saved) as tar:
            contents = {one.name: tar.extractfile(one) for one in tar}
            read = {name: file.read() for name, file in contents.items() if file is not None}
        (said,) = json.loads(read["manifest.json"])
        config, (layer,) = read[said["Config"]], [read[name] for name in said["Layers"]]
        packed = gzip.compress(layer, compresslevel=1, mtime=0)
        kind = "application/vnd.docker."
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{kind}distribution.manifest.v2+json",
            "config": {"mediaType": f"{kind}container.image.v1+json", **self._blob(config)},
            "layers": [{"mediaType": f"{kind}image.rootfs.diff.tar.gzip", **self._blob(packed)}],
        }
        body = json.dumps(manifest).encode()
        url = f"http://127.0.0.1:{self.port}/v2/test/manifests/1"
        headers = {"Content-Type": manifest["mediaType"]}
        self._send("PUT", url, body, headers)
        return f"127.0.0.1:{self.port}/test", f"sha256:{hashlib.sha256(body).hexdigest()}"

    def spoil(self) -> None:
        """Change a byte of every large blob."""
        for path in self.folder.glob("registry/docker/registry/v2/blobs/sha256/*/*/data"):
            content = bytearray(path.read_bytes())
            if len(content) > 1 << 16:
                content[len(content) // 2] ^= 1
                path.write_bytes(bytes(content))

    def _blob(self, content: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        url = f"http://127.0.0.1:{self.port}/v2/test/blobs/uploads/"
        place = self._send("POST", url, b"", {})
        separator = "&" if "?" in place else "?"
        headers = {"Content-Type": "application/octet-stream"}
        self._send("PUT", f"{place}{separator}digest={digest}", content, headers)
        return {"size": len(content), "digest": digest}

    def _send(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> str:
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - ours
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - ours
            return str(answer.headers.get("Location", ""))


def registry(folder: Path) -> Iterator[Registry]:
    """Yield a registry; skip where there can be none."""
    if shutil.which("docker-registry") is None:
        pytest.skip("no registry is installed (apt-get install docker-registry)")
    made = Registry(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def _unmount(folder: Path) -> None:
    """Release what an engine that was killed has left mounted."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    for place in reversed([line.split()[1] for line in lines]):
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", "-l", place], check=False, capture_output=True)


@cache
def rootfs() -> Path:
    """Return a folder with shell, tools, and the Python of these tests; made once per host."""
    place = Path(tempfile.gettempdir()) / f"mlbuild-test-image-{os.geteuid()}-{_version()}"
    with open(f"{place}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            fresh = Path(f"{place}.{os.getpid()}")
            shutil.rmtree(fresh, ignore_errors=True)
            _make(fresh)
            fresh.rename(place)
    return place


def _version() -> str:
    return re.sub(r"\W+", "-", f"{sys.version_info[:3]}-{sysconfig.get_platform()}-6").strip("-")


def _make(root: Path) -> None:
    for name in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "tmp", "var/log", "root"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    files = [
        path for name in PROGRAMS.split() if (path := shutil.which(name, path="/usr/bin:/bin"))
    ]
    files += [path for name in ("chroot",) if (path := shutil.which(name, path="/usr/sbin"))]
    shell = next(path for path in ("/bin/dash", "/bin/bash") if os.path.exists(path))
    _copy(shell, root / "usr/bin" / os.path.basename(shell))
    (root / "usr/bin/sh").symlink_to(os.path.basename(shell))
    for path in files:
        _copy(path, root / path.lstrip("/"))
    prefix = Path(sys.base_prefix)
    library = Path(sysconfig.get_path("stdlib"))
    python = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    skipped = {"test", "tests", "site-packages", "dist-packages", "__pycache__", "idlelib"}
    skipped |= {"ensurepip", "tkinter", "lib2to3", "turtledemo"}
    shutil.copytree(
        library,
        root / str(library).lstrip("/"),
        symlinks=True,
        ignore=lambda _, names: [
            name for name in names if name in skipped or name.startswith(("config-", *UNUSED))
        ],
        dirs_exist_ok=True,
    )
    (root / str(library).lstrip("/") / "site-packages").mkdir(exist_ok=True)
    _copy(str(python), root / str(python).lstrip("/"))
    if not (root / "usr/bin/python3").exists():
        (root / "usr/bin/python3").symlink_to(python)  # absolute, as images have them
    if prefix != Path("/usr"):
        shutil.copytree(
            library / "lib-dynload",
            root / str(library / "lib-dynload").lstrip("/"),
            ignore=lambda _, names: [name for name in names if name.startswith(UNUSED)],
            dirs_exist_ok=True,
        )
    modules = [
        path for path in library.glob("lib-dynload/*.so") if not path.name.startswith(UNUSED)
    ]
    _copy_libraries([*files, shell, str(python), *map(str, modules)], root)
    _strip(root)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n", encoding="ascii")


def _strip(root: Path) -> None:
    """Make the image as small as it can be: tests pack, hash and load it again and again."""
    if shutil.which("strip"):
        large = [path for path in root.rglob("*.so*") if path.is_file() and not path.is_symlink()]
        subprocess.run(["strip", "--strip-unneeded", *large], check=False, capture_output=True)


def _copy(path: str, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if not to.exists():
        shutil.copy(path, to)


def _copy_libraries(programs: list[str], root: Path) -> None:
    """Copy every shared library that one of `programs` is linked with, and what is opened late."""
    found = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False)
    libraries = set(LIBRARY.findall(found.stdout))
    for name in ("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libgcc_s.so.1"):
        libraries |= {str(path) for path in Path("/usr/lib").glob(f"*-linux-gnu/{name}")}
    libraries |= {str(path) for path in Path("/usr/lib").glob("*-linux-gnu/libstdc++.so.6")}
    for path in libraries:
        place = path if path.startswith("/usr/") else f"/usr{path}"
        if os.path.exists(f"/usr{path}") or path.startswith("/usr/"):
            _copy(path, root / place.lstrip("/"))
        else:
            _copy(path, root / path.lstrip("/"))


@cache
def unpacked() -> Path:
    """Return the tree that the rules make of an archive of `rootfs`, once for this process."""
    folder = Path(tempfile.mkdtemp(prefix="mlbuild-test-tree-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    archive(rootfs(), folder / "image.tar", env=("FROM_IMAGE=1",))
    program = REPOSITORY / "rules/tools/image/image.py"
    subprocess.run([sys.executable, program, folder / "image.tar", folder / "tree"], check=True)
    return folder / "tree"


def archive(root: Path, to: Path, *, env: tuple[str, ...] = ()) -> str:
    """Write what `docker save` would of an image with one layer; return the image's id."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(root, ".")
    content = layer.getvalue()
    diff_id = hashlib.sha256(content).hexdigest()
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux",
            "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin", *env]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        }
    ).encode()
    id_ = hashlib.sha256(config).hexdigest()
    names = [{"Config": f"{id_}.json", "RepoTags": ["test:1"], "Layers": [f"{diff_id}/layer.tar"]}]
    with tarfile.open(to, "w") as tar:
        for name, one in (
            (f"{id_}.json", config),
            ("manifest.json", json.dumps(names).encode()),
            (f"{diff_id}/layer.tar", content),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(one)
            tar.addfile(entry, io.BytesIO(one))
    return f"sha256:{id_}"
