"""Images become plain files: layers, whiteouts, links, and what is refused."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.harness import REPOSITORY

PROGRAMS = REPOSITORY / "rules/tools/image"
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
BASE = {
    ".dockerenv",
    *("dev", "etc", "proc", "sbin", "sys", "tmp"),
    *("etc/group", "etc/hostname", "etc/hosts", "etc/mtab", "etc/passwd", "etc/resolv.conf"),
    "sbin/docker-init",
}

Entry = tuple[tarfile.TarInfo, bytes]


def file(path: str, content: bytes = b"", mode: int = 0o644) -> Entry:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), mode
    return entry, content


def folder(path: str) -> Entry:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    return entry, b""


def link(path: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Entry:
    entry = tarfile.TarInfo(path)
    entry.type, entry.linkname = kind, target
    return entry, b""


def special(path: str, kind: bytes) -> Entry:
    entry = tarfile.TarInfo(path)
    entry.type = kind
    return entry, b""


def tar(entries: Sequence[Entry]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for entry, content in entries:
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def sha(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def config(layers: Sequence[bytes], **changed: Any) -> bytes:
    said = {
        "architecture": MACHINE,
        "os": "linux",
        "config": {"Env": ["PATH=/bin", "A=1=2"]},
        "rootfs": {"type": "layers", "diff_ids": [sha(layer) for layer in layers]},
    }
    return json.dumps(said | changed).encode()


def saved(layers: Sequence[bytes], **changed: Any) -> bytes:
    """Return what `docker save` writes."""
    about = config(layers, **changed)
    name = f"{sha(about).removeprefix('sha256:')}.json"
    names = [f"{number}/layer.tar" for number, _ in enumerate(layers)]
    manifest = json.dumps([{"Config": name, "RepoTags": ["a:1"], "Layers": names}]).encode()
    entries = [file("manifest.json", manifest), file(name, about)]
    return tar([*entries, *(file(*one) for one in zip(names, layers, strict=True))])


def layout(layers: Sequence[bytes], pack: Callable[[bytes], bytes]) -> dict[str, bytes]:
    """Return the files of an OCI layout."""
    about = config(layers)
    packed = [pack(layer) for layer in layers]
    blobs = {f"blobs/sha256/{sha(one)[7:]}": one for one in (about, *packed)}
    manifest = json.dumps(
        {"config": {"digest": sha(about)}, "layers": [{"digest": sha(one)} for one in packed]}
    ).encode()
    index = {"manifests": [{"digest": sha(manifest)}]}
    return {
        **blobs,
        f"blobs/sha256/{sha(manifest)[7:]}": manifest,
        "index.json": json.dumps(index).encode(),
        "oci-layout": b"{}",
    }


class Unpacking:
    """Runs the program on an archive."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.archive = root / "image.tar"
        self.out = root / "out"
        self.said = ""

    def __call__(self, content: bytes) -> set[str]:
        """Unpack; return all paths but those that every image has."""
        self.archive.write_bytes(content)
        return self.run(self.archive)

    def run(self, archive: Path) -> set[str]:
        done = subprocess.run(
            [sys.executable, PROGRAMS / "image.py", archive, self.out],
            capture_output=True,
            text=True,
            check=False,
        )
        self.said = done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        if done.returncode != 0:
            return set()
        top = self.out / "rootfs"
        return {str(path.relative_to(top)) for path in top.rglob("*")} - BASE

    def text(self, path: str) -> str:
        return (self.out / "rootfs" / path).read_text(encoding="utf-8")


@pytest.fixture
def unpack(tmp_path: Path) -> Unpacking:
    return Unpacking(tmp_path)


def test_layers_lie_over_each_other(unpack: Unpacking) -> None:
    below = tar([file("a", b"1"), file("b", b"1"), file("d/x", b"1"), folder("empty")])
    above = tar([file("b", b"2", mode=0o4755), file("d/y", b"2"), file("c", b"2")])

    found = unpack(saved([below, above]))

    assert found == {"a", "b", "c", "d", "d/x", "d/y", "empty"}
    assert [unpack.text(path) for path in ("a", "b", "d/y")] == ["1", "2", "2"]
    assert (unpack.out / "rootfs/b").stat().st_mode & 0o7777 == 0o755  # and no set-user-id bit
    said = json.loads((unpack.out / "image.json").read_text(encoding="utf-8"))
    assert said == {"architecture": MACHINE, "env": {"A": "1=2", "PATH": "/bin"}}


def test_whiteouts_remove_what_lower_layers_had(unpack: Unpacking) -> None:
    below = tar([file("a"), file("d/x"), file("d/sub/z"), file("e/old"), file("f/g/old")])
    above = tar(
        [
            *(file(".wh.a"), file("d/.wh.x"), file("e/new"), file("e/.wh..wh..opq")),
            *(file("f/.wh..wh..opq"), file("f/g/new"), file("kept"), file(".wh.kept")),
        ]
    )

    found = unpack(saved([below, above]))

    assert found == {"d", "d/sub", "d/sub/z", "e", "e/new", "f", "f/g", "f/g/new", "kept"}


def test_a_later_layer_changes_the_kind_of_a_path(unpack: Unpacking) -> None:
    below = tar([file("a/x"), file("b"), link("l", "a")])
    above = tar([file("a"), file("b/y"), folder("l")])

    assert unpack(saved([below, above])) == {"a", "b", "b/y", "l"}


def test_paths_through_links_stay_inside(unpack: Unpacking, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    below = tar([file("usr/bin/a"), link("bin", "usr/bin"), link("far", f"/{outside}")])
    above = tar([file("bin/b", b"b"), file("far/c"), link("up", "../../.."), file("up/d")])

    found = unpack(saved([below, above]))

    assert {"usr/bin/b", "bin", "d"} <= found
    assert list(outside.iterdir()) == []
    for path in (unpack.out / "rootfs").rglob("*"):
        assert path.resolve().is_relative_to(unpack.out / "rootfs")


def test_absolute_links_lead_where_they_lead_in_the_image(unpack: Unpacking) -> None:
    entries = [
        file("usr/bin/awk", b"awk"),
        link("etc/alternatives/awk", "/usr/bin/awk"),
        link("root-link", "/"),
        link("usr/deep", "/etc/../../usr/bin/awk"),
        link("out", "/dev/stdout"),
    ]

    unpack(saved([tar(entries)]))

    top = unpack.out / "rootfs"
    assert os.readlink(top / "etc/alternatives/awk") == "../../usr/bin/awk"
    assert unpack.text("etc/alternatives/awk") == unpack.text("usr/deep") == "awk"
    assert (top / "root-link").resolve() == top
    assert os.readlink(top / "out") == "dev/stdout"


def test_hard_links_share_their_bytes(unpack: Unpacking) -> None:
    entries = [file("a", b"1", mode=0o755), link("sub/b", "a", tarfile.LNKTYPE)]

    unpack(saved([tar(entries)]))

    assert unpack.text("sub/b") == "1"
    assert os.access(unpack.out / "rootfs/sub/b", os.X_OK)


def test_devices_and_what_every_action_has_of_its_own_stay_out(unpack: Unpacking) -> None:
    entries = [
        special("null", tarfile.CHRTYPE),
        special("pipe", tarfile.FIFOTYPE),
        *(file("dev/x"), file("proc/x"), file("tmp/x"), file("sys/x")),
        *(link("etc/resolv.conf", "../run/resolv.conf"), file("etc/passwd", b"root")),
    ]

    assert unpack(saved([tar(entries)])) == set()
    assert unpack.text("etc/resolv.conf") == ""
    assert unpack.text("etc/passwd") == "root"


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz"])
def test_an_oci_layout_is_read(
    unpack: Unpacking, tmp_path: Path, pack: Callable[[bytes], bytes], kind: str
) -> None:
    files = layout([tar([file("a", b"1")])], pack)
    if kind == "folder":
        for name, content in files.items():
            (tmp_path / "layout" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "layout" / name).write_bytes(content)
        found = unpack.run(tmp_path / "layout")
    else:
        content = tar([file(name, content) for name, content in files.items()])
        found = unpack(gzip.compress(content) if kind == "tar.gz" else content)

    assert found == {"a"}
    assert {path.name for path in unpack.out.iterdir()} == {"image.json", "rootfs"}


def test_the_one_of_several_images_that_fits_this_machine_is_taken(unpack: Unpacking) -> None:
    files = layout([tar([file("a")])], bytes)
    index = json.loads(files["index.json"])
    index["manifests"][0]["platform"] = {"architecture": MACHINE, "os": "linux"}
    index["manifests"].append(
        {"digest": sha(b"other"), "platform": {"architecture": "mips", "os": "linux"}}
    )
    files["index.json"] = json.dumps(index).encode()

    assert unpack(tar([file(*one) for one in files.items()])) == {"a"}


LAYER = tar([file("a", b"1" * 10_000)])
REFUSED: dict[str, tuple[bytes, str]] = {
    "dots": (saved([tar([file("../up")])]), "`../up` leads out of the image"),
    "absolute": (saved([tar([file("/etc/up")])]), "`/etc/up` is no relative path"),
    "dots in a hard link": (
        saved([tar([link("a", "../../etc/passwd", tarfile.LNKTYPE)])]),
        "leads out of the image",
    ),
    "a hard link to nothing": (saved([tar([link("a", "b", tarfile.LNKTYPE)])]), "is no file"),
    "a circle": (saved([tar([link("a", "b"), link("b", "a"), file("a/x")])]), "in a circle"),
    "cut": (saved([LAYER])[:9000], "truncated"),
    "no image": (tar([file("hello")]), "neither `manifest.json`"),
    "text": (b"hello" * 400, "no archive of a container image"),
    "empty": (b"", "no archive of a container image"),
    "another layer": (
        saved([LAYER], rootfs={"type": "layers", "diff_ids": [sha(b"x")]}),
        "is not what the image says",
    ),
    "another number of layers": (
        saved([LAYER], rootfs={"type": "layers", "diff_ids": []}),
        "it has 1 layers, and its config names 0",
    ),
    "another machine": (saved([LAYER], architecture="mips"), "made for linux on mips"),
    "windows": (saved([LAYER], os="windows"), "made for windows"),
    "zstd": (saved([b"\x28\xb5\x2f\xfd" + b"0" * 100]), "compressed with zstd"),
    "malformed": (tar([file("manifest.json", b"[{}]")]), "malformed"),
    "no JSON": (tar([file("manifest.json", b"[")]), "is not JSON"),
    "outside": (
        tar([file("manifest.json", json.dumps([{"Config": "../x", "Layers": []}]).encode())]),
        "outside of it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_honest_tool_makes_is_refused(unpack: Unpacking, name: str) -> None:
    content, said = REFUSED[name]

    assert unpack(content) == set()
    assert said in unpack.said
    assert unpack.said.count("\n") == 1


def test_a_blob_that_is_not_its_digest_is_refused(unpack: Unpacking) -> None:
    files = layout([LAYER], gzip.compress)
    (largest,) = (name for name in files if name.startswith("blobs") and b"diff_ids" in files[name])
    files[largest] += b" "

    unpack(tar([file(*one) for one in files.items()]))

    assert "is not what its digest says" in unpack.said
