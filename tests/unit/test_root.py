"""An image as the root of an action: what it means for the key, and for Docker's own image."""

import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from mlbuild.core import manifest
from mlbuild.core.action import Action, Run
from mlbuild.errors import HostError, InputError
from mlbuild.exec.base import Tool
from mlbuild.exec.docker_image import write_archive
from mlbuild.exec.root import Root, root_of
from tests.contract.jobs import Jobs, shell

HOST = "linux-x86_64/debian-12/glibc-2.36"


def facts(root: str, platform: str = HOST) -> dict[str, str]:
    one = Action("//:a", "//:a", "a", Run(argv=(("x",),), root=root), inputs=("image",))
    found = manifest.facts(one, inputs={"image": "t:1:2"}, tools={}, platform=platform)
    return {fact.name: fact.value for fact in found}


def tree(place: Path, env: dict[str, str]) -> Path:
    """Make an unpacked image."""
    (place / "rootfs/usr/bin").mkdir(parents=True)
    (place / "rootfs/tmp").mkdir()
    (place / "rootfs/usr/bin/tool").write_text("tool", encoding="utf-8")
    (place / "rootfs/usr/bin/tool").chmod(0o755)
    (place / "rootfs/bin").symlink_to("usr/bin")
    said = {"architecture": "amd64", "env": env}
    (place / "image.json").write_text(json.dumps(said), encoding="utf-8")
    return place


def test_the_hosts_distribution_is_no_part_of_the_key_of_what_has_an_image() -> None:
    assert facts("")["platform"] == HOST
    assert facts("image") == facts("image", "linux-x86_64/alpine-3/musl")
    assert facts("image")["platform"] == "linux-x86_64"
    assert facts("image")["root"] == "image"
    assert "root" not in facts("")


def test_equal_trees_are_equal_images_wherever_and_whenever_they_were_made(tmp_path: Path) -> None:
    one = tree(tmp_path / "one", {"A": "1"})
    other = tmp_path / "deep/other"
    shutil.copytree(one, other, symlinks=True)
    os.utime(other / "rootfs/usr/bin/tool", (1, 1))
    (other / "rootfs/usr/bin/tool").chmod(0o500)  # as a store of another user may have it

    ids = [
        write_archive(
            Root("name", f"{place}/rootfs", "amd64", {"A": "1"}, ()), str(tmp_path / f"{n}.tar")
        )
        for n, place in enumerate((one, other))
    ]

    assert ids[0] == ids[1]
    assert (tmp_path / "0.tar").read_bytes() == (tmp_path / "1.tar").read_bytes()
    with tarfile.open(tmp_path / "0.tar") as archive:
        file = archive.extractfile(f"{ids[0].removeprefix('sha256:')}.json")
        assert file is not None
        assert f"sha256:{hashlib.sha256(file.read()).hexdigest()}" == ids[0]


def test_a_root_is_read_from_its_tree(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, image=tree(tmp_path / "image", {"PATH": "/opt/bin"}))

    root = root_of(jobs.job(shell("true")))

    assert root is not None
    assert root.shown == ("bin", "usr")  # each action has a /tmp of its own
    assert root.env == {"PATH": "/opt/bin"}


def test_an_input_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    jobs = Jobs(tmp_path, image=tmp_path / "data")

    with pytest.raises(InputError, match="no unpacked image"):
        root_of(jobs.job(shell("true")))


def test_a_program_of_the_host_cannot_run_in_an_image(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, image=tree(tmp_path / "image", {}))
    jobs.tools["bash"] = Tool("bash", "/usr/bin/bash", "", "", "host")
    run = Run(argv=(("bash",),), tools=("bash",))

    with pytest.raises(HostError, match="`bash` cannot be used inside an image"):
        root_of(jobs.job(run))
