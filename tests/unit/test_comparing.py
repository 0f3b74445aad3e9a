"""What differs between two files is said as deep as their formats are known."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from array import array
from pathlib import Path

import pytest

from mlbuild.verify.compare import differences
from mlbuild.verify.culprits import in_differences, in_script
from mlbuild.verify.difference import Difference


def npy(values: "array[float]", shape: tuple[int, ...], *, descr: str = "<f4") -> bytes:
    head = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + values.tobytes()


def zipped(members: dict[str, bytes], *, date: tuple[int, ...] = (1980, 1, 1, 0, 0, 0)) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, date), content)  # type: ignore[arg-type]
    return packed.getvalue()


def tarred(names: dict[str, bytes], *, mtime: int = 0, uid: int = 0) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in names.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.uid = len(content), mtime, uid
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def tensors(header: dict[str, object], body: bytes) -> bytes:
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + body


class Pair:
    """Two files of one name, compared."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, name: str, kept: bytes, fresh: bytes, **tolerance: float
    ) -> list[Difference]:
        for side, content in (("kept", kept), ("fresh", fresh)):
            place = self.folder / side / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        kept_path, fresh_path = (str(self.folder / side / name) for side in ("kept", "fresh"))
        return differences(kept_path, fresh_path, path=name, tolerance=tolerance)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_the_values_of_an_array_that_differ_are_counted_and_the_first_is_named(pair: Pair) -> None:
    values = array("f", [1.0] * 12)
    other = array("f", values)
    other[7], other[11] = 1.5, 0.75

    (found,) = pair("w.npy", npy(values, (3, 4)), npy(other, (3, 4)))

    assert (found.kind, found.values, found.total, found.first) == ("array", 2, 12, (1, 3))
    assert found.largest == 0.5
    assert found.relative == pytest.approx(1 / 3)
    assert "float32 (3, 4): 2 of 12 values differ by at most 0.5" in found.what
    assert "first at [1, 3]: 1 and 1.5" in found.what


@pytest.mark.parametrize(
    ("descr", "code", "shown"),
    [
        ("<f8", "d", "float64"),
        (">f4", "f", "float32"),
        ("<i8", "q", "int64"),
        ("|u1", "B", "uint8"),
        ("|b1", "B", "bool"),
    ],
)
def test_arrays_of_many_types_are_read(pair: Pair, descr: str, code: str, shown: str) -> None:
    one, two = array(code, [1, 0, 1]), array(code, [1, 1, 1])
    if descr.startswith(">"):
        one.byteswap()
        two.byteswap()

    (found,) = pair("w.npy", npy(one, (3,), descr=descr), npy(two, (3,), descr=descr))

    assert (found.values, found.largest, found.first) == (1, 1.0, (1,))
    assert shown in found.what


def test_half_and_complex_numbers_are_read(pair: Pair) -> None:
    halves = [array("B", struct.pack("<3e", 1, x, 3)) for x in (2, 2.5)]
    pairs = [array("f", [1, 2, 3, x]) for x in (4, 5)]

    (half,) = pair("h.npy", *(npy(one, (3,), descr="<f2") for one in halves))
    (twin,) = pair("c.npy", *(npy(one, (2,), descr="<c8") for one in pairs))

    assert (half.values, half.largest, half.first) == (1, 0.5, (1,))
    assert (twin.values, twin.total, twin.first) == (1, 2, (1,))


def test_a_shape_or_type_that_changed_is_said(pair: Pair) -> None:
    values = array("f", [0.0] * 4)

    (found,) = pair("w.npy", npy(values, (4,)), npy(values, (2, 2)))

    assert found.what == "it was float32 (4,) and is float32 (2, 2)"


def test_what_is_no_number_and_signs_of_zero_are_told_apart(pair: Pair) -> None:
    nan, zero = array("f", [float("nan"), 1.0]), array("f", [0.0])

    (lost,) = pair("a.npy", npy(array("f", [1.0, 1.0]), (2,)), npy(nan, (2,)))
    (sign,) = pair("b.npy", npy(zero, (1,)), npy(array("f", [-0.0]), (1,)))

    assert "1 of 2 values differ, 1 of them infinite or NaN" in lost.what
    assert lost.largest is None
    assert "only signs of zero" in sign.what


def test_an_array_in_a_large_file_is_compared_to_its_end(pair: Pair) -> None:
    values = array("f", bytes(4 * 300_000))
    other = array("f", values)
    other[299_999] = 2.0

    (found,) = pair("w.npy", npy(values, (300_000,)), npy(other, (300_000,)))

    assert (found.values, found.first) == (1, (299_999,))


def test_the_array_of_an_npz_file_is_named(pair: Pair) -> None:
    one, two = (npy(array("f", [x]), (1,)) for x in (1.0, 2.0))

    (found,) = pair(
        "m.npz", zipped({"a.npy": one, "b.npy": one}), zipped({"a.npy": one, "b.npy": two})
    )

    assert (found.kind, found.where) == ("array", "array `b`")


def test_the_tensor_of_a_safetensors_file_is_named(pair: Pair) -> None:
    def entry(dtype: str, start: int, end: int) -> dict[str, object]:
        return {"dtype": dtype, "shape": [2], "data_offsets": [start, end]}

    header = {"w": entry("F32", 0, 8), "v": entry("BF16", 8, 12)}
    body = struct.pack("<2f", 1, 2) + struct.pack("<2H", 0x3F80, 0x4000)
    other = struct.pack("<2f", 1, 2) + struct.pack("<2H", 0x3F80, 0x4040)

    (found,) = pair("m.safetensors", tensors(header, body), tensors(header, other))
    (moved,) = pair(
        "n.safetensors",
        tensors({"__metadata__": {"a": "1", "b": "2"}, **header}, body),
        tensors({"__metadata__": {"b": "2", "a": "1"}, **header}, body),
    )

    assert (found.where, found.first, found.largest) == ("tensor `v`", (1,), 1.0)
    assert moved.kind == "order"


def test_time_stamps_of_archives_are_told_from_their_contents(pair: Pair) -> None:
    later = (2024, 5, 6, 7, 8, 10)
    (zip_stamp,) = pair("a.zip", zipped({"x": b"1"}), zipped({"x": b"1"}, date=later))
    (tar_stamp,) = pair("a.tar", tarred({"x": b"1"}), tarred({"x": b"1"}, mtime=9))
    (gz_stamp,) = pair("a.gz", gzip.compress(b"1", mtime=1), gzip.compress(b"1", mtime=2))
    (gz_text,) = pair("b.gz", gzip.compress(b"1\n", mtime=1), gzip.compress(b"2\n", mtime=1))

    assert [one.kind for one in (zip_stamp, tar_stamp, gz_stamp)] == ["time stamp"] * 3
    assert zip_stamp.what == "it was made at 1980-01-01 00:00:00 and 2024-05-06 07:08:10"
    assert zip_stamp.where == "member `x`"
    assert (gz_text.kind, gz_text.where) == ("text", "unpacked, line 1")
    names = [one.name for one in in_differences([zip_stamp, gz_stamp])]
    assert names == ["gzip-time-stamp", "archive-time-stamp"]


def test_members_that_come_go_or_move_are_named(pair: Pair) -> None:
    found = pair("a.zip", zipped({"x": b"", "y": b""}), zipped({"x": b"", "z": b""}))
    (order,) = pair("b.tar", tarred({"x": b"", "y": b""}), tarred({"y": b"", "x": b""}))
    (owner,) = pair("c.tar", tarred({"x": b""}), tarred({"x": b""}, uid=7))

    assert [(one.kind, one.where) for one in found] == [
        ("missing", "member `y`"),
        ("extra", "member `z`"),
    ]
    assert order.kind == "order"
    assert owner.what == "its uid was 0 and is 7"


def test_the_name_that_torch_saves_in_its_file_is_the_culprit(pair: Pair) -> None:
    found = pair(
        "m.pt",
        zipped({"run-1/data.pkl": b"\x80\x02N.", "run-1/data/0": b"1"}),
        zipped({"run-2/data.pkl": b"\x80\x02N.", "run-2/data/0": b"1"}),
    )

    assert [(one.kind, one.what) for one in found] == [
        ("name", "the folder in it was `run-1` and is `run-2`")
    ]
    assert [one.name for one in in_differences(found)] == ["torch-save-name"]


def test_a_pickle_is_compared_without_running_it(pair: Pair) -> None:
    bomb = b"cos\nsystem\n(S'touch /tmp/never'\ntR."
    (found,) = pair("a.pkl", pickle.dumps({"a": 1, "n": "one"}), pickle.dumps({"a": 1, "n": "two"}))
    (other,) = pair("b.pkl", b"\x80\x02" + bomb, b"\x80\x02" + bomb.replace(b"never", b"niemals"))

    assert "'one'" in found.what
    assert "'two'" in found.what
    assert found.where.startswith("byte ")
    assert other.kind == "text"


def test_numbers_in_json_may_differ_by_their_tolerance(pair: Pair) -> None:
    kept, fresh = {"accuracy": 0.9, "deep": {"loss": 1.0}}, {"accuracy": 0.905, "deep": {"loss": 2}}
    one, two = (json.dumps(value).encode() for value in (kept, fresh))

    assert [found.where for found in pair("m.json", one, two)] == ["`accuracy`", "`deep.loss`"]
    (found,) = pair("m.json", one, two, accuracy=0.01)
    assert (found.largest, found.relative) == (1.0, 0.5)
    assert pair("m.json", one, two, **{"accuracy": 0.01, "deep.loss": 1}) == []
    assert pair("m.json", one, two, **{"*": 1}) == []


def test_the_first_line_that_differs_is_shown(pair: Pair) -> None:
    (found,) = pair("a.csv", b"a,b\n1,2\n3,4\n", b"a,b\n1,9\n3,5\n")
    (order,) = pair("b.csv", b"a\nb\n", b"b\na\n")

    assert (found.where, found.what) == ("line 2", "it was `1,2` and is `1,9`, and 1 more lines")
    assert order.kind == "order"


def test_other_bytes_are_counted_from_the_first(pair: Pair) -> None:
    (found,) = pair("a.bin", b"\x00\xff\x01\x02", b"\x00\xfe\x01\x03")
    (longer,) = pair("b.bin", b"\xff\x00", b"\xff\x00\x00")

    assert (found.where, found.what) == ("byte 1", "2 bytes differ, of 4 bytes")
    assert longer.what == "1 bytes differ, of 2 and 3 bytes"


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.gz", "a.tar", "a.safetensors", "a.pkl"])
def test_damaged_files_are_compared_as_bytes(pair: Pair, name: str) -> None:
    starts = {
        "a.npy": b"\x93NUMPY\x01\x00\xff\xff",
        "a.npz": b"PK\x03\x04",
        "a.gz": b"\x1f\x8b\x08\x00",
        "a.tar": bytes(257) + b"ustar\x0000" + b"\xff" * 300,
        "a.safetensors": b"\x08\x00\x00\x00\x00\x00\x00\x00{",
        "a.pkl": b"\x80\x04\xff",
    }

    found = pair(name, starts[name] + b"\xff1", starts[name] + b"\xff2")

    assert [one.kind for one in found] == ["bytes"]


def test_folders_are_compared_file_by_file(tmp_path: Path) -> None:
    for side, names in (("kept", ("a", "b/c")), ("fresh", ("a", "b/d"))):
        for name in names:
            (tmp_path / side / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / side / name).write_text(f"{side if name == 'a' else ''}\n")

    found = differences(str(tmp_path / "kept"), str(tmp_path / "fresh"), path="out")

    assert [(one.path, one.kind) for one in found] == [
        ("out/a", "text"),
        ("out/b/c", "missing"),
        ("out/b/d", "extra"),
    ]


SCRIPT = """
import os, time, uuid, zipfile, gzip, random
import numpy as np
from datetime import datetime
names = os.listdir(".")
good = sorted(os.listdir("."))
also = [p for p in sorted(folder.glob("*.png"))]
now = datetime.now(); t = time.time()
h = hash("a")
w = np.empty(3)
rng = np.random.default_rng()
seeded = np.random.default_rng(0)
random.random()
with zipfile.ZipFile("a.zip", "w") as z: pass
zipfile.ZipFile("a.zip")
gzip.open("a.gz", mode="wt")
gzip.compress(b"", mtime=0)
uuid.uuid4()
"""


def test_the_usual_culprits_are_found_in_a_script() -> None:
    found = [
        (one.name, one.span.line) for one in in_script("a.py", SCRIPT, seeded=False) if one.span
    ]

    assert found == [
        ("unsorted-listing", 5),
        ("clock", 8),
        ("clock", 8),
        ("string-hash", 9),
        ("uninitialised-memory", 10),
        ("unseeded", 11),
        ("unseeded", 13),
        ("archive-time-stamp", 14),
        ("gzip-time-stamp", 16),
        ("randomness", 18),
    ]


def test_a_seeded_target_may_draw_and_a_broken_script_is_silent() -> None:
    assert in_script("a.py", "import random\nrandom.random()\n", seeded=True) == []
    assert in_script("a.py", "def", seeded=False) == []


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("it was `2026-11-21 10:00:00` and is `2026-11-21 10:00:01`", "clock"),
        ("it was `<A object at 0x7f3a5c0d1e20>` and is `x`", "memory-address"),
        ("it was `/tmp/tmpab12cd34/x` and is `y`", "absolute-path"),
    ],
)
def test_what_a_text_gives_away_is_named(what: str, name: str) -> None:
    assert [one.name for one in in_differences([Difference("a", "text", "", what)])] == [name]


def test_values_of_absurd_size_look_like_memory_nobody_wrote(pair: Pair) -> None:
    one, two = (npy(array("f", [x]), (1,)) for x in (0.0, 3e37))

    found = pair("w.npy", one, two)

    assert [culprit.name for culprit in in_differences(found)] == ["uninitialised-memory"]
