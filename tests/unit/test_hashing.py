"""Hashing: the right digest of every file, and a named error for what is none."""

import os
import socket
from pathlib import Path

import pytest
from blake3 import blake3

from mlbuild import columns
from mlbuild.errors import InputError
from mlbuild.hashing import LARGE, MANY, RECORD, hash_batches, hash_file, hash_files

HASH = slice(1 + columns.WIDTH, RECORD)


@pytest.mark.parametrize("size", [0, 1, 1024, LARGE - 1, LARGE, LARGE + 1])
def test_a_file_of_any_size_has_the_hash_of_its_bytes(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "a").write_bytes(content[:size])

    record = hash_file(str(tmp_path / "a"))

    assert len(record) == RECORD
    assert record[HASH] == blake3(content[:size]).digest()


def test_the_owners_executable_bit_makes_the_kind(tmp_path: Path) -> None:
    for name, mode in {"plain": 0o644, "others": 0o655, "tool": 0o744}.items():
        (tmp_path / name).write_bytes(b"same")
        (tmp_path / name).chmod(mode)

    kinds = [hash_file(str(tmp_path / name))[:1] for name in ("plain", "others", "tool")]

    assert kinds == [b"f", b"f", b"x"]


def test_what_is_no_file_is_named_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))

    for name in ("pipe", "folder", "dangling", "loop", "socket", "absent"):
        with pytest.raises(InputError, match=f"`shown/{name}`"):
            hash_file(str(tmp_path / name), shown=f"shown/{name}")


def test_a_folder_that_is_not_there_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    for folder in ("absent", "file"):
        with pytest.raises(InputError, match=f"there is no file `{folder}/x`"):
            hash_files(str(tmp_path / folder), ["x"], shown=folder)


def test_processes_find_what_one_by_one_is_found(tmp_path: Path) -> None:
    names = ["plain", "ü", os.fsdecode(b"\xff\xfe"), "large"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode("utf-8", "surrogateescape"))
    (tmp_path / "large").write_bytes(bytes(LARGE))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "plain").write_bytes(b"another")
    alone = [hash_file(str(tmp_path / name)) for name in names]  # the large one by threads

    together = hash_batches(
        [
            (str(tmp_path), names),
            (str(tmp_path / "other"), []),
            (str(tmp_path / "other"), ["plain"]),
        ]
    )

    assert together == [alone, [], [hash_file(str(tmp_path / "other" / "plain"))]]


def test_orders_and_answers_larger_than_any_pipe_do_not_block(tmp_path: Path) -> None:
    names = [f"{letter}{'x' * 200}" for letter in "abcdefgh"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    alone = [hash_file(str(tmp_path / name)) for name in names]

    found = hash_files(str(tmp_path), names * 5000)

    assert found == alone * 5000


def test_a_missing_one_among_very_many_is_named(tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"")

    with pytest.raises(InputError, match=r"there is no file .*gone"):
        hash_files(str(tmp_path), ["here"] * MANY + ["gone"])
