"""What several tests of hosts in trouble need."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    image, at = tmp_path / "image", tmp_path / "disk"
    with image.open("wb") as opened:
        opened.truncate(12 << 20)
    at.mkdir()
    for command in (
        ["mkfs.ext4", "-q", "-m", "0", str(image)],
        ["mount", "-o", "loop", str(image), str(at)],
    ):
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("no loop mounts here")
    yield at
    subprocess.run(["umount", str(at)], check=True)
