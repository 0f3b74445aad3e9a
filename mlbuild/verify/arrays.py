"""Arrays: the numbers of .npy and .safetensors files, compared one by one, without NumPy."""

import ast
import json
import math
import re
import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import ne

from mlbuild.verify.difference import Content, Difference, within

NPY = b"\x93NUMPY"
_SHORT, _LONG, _LENGTH = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")
_ABSURD = 1e30  # no number that was computed on purpose is as large
_EXACT = 1e16  # from here on a float has no digits for ones
_CHUNK = 1 << 18  # bytes compared at once; a multiple of the size of every element
_MOST_LOOKED_AT = 20_000_000  # differing values whose distance is taken; the rest is counted
_LONGEST_HEADER = 100 << 20
_ENTRY = re.compile(r"([<>|=])([a-zA-Z])(\d+)")
# type of NumPy -> code of `array`, or of `struct` where that has none
_CODES = {
    "f2": "e",
    "f4": "f",
    "f8": "d",
    "c8": "f",
    "c16": "d",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "b1": "B",
}
_TENSORS = {
    "F64": "d",
    "F32": "f",
    "F16": "e",
    "BF16": "bfloat16",
    "BOOL": "B",
    "U8": "B",
    "I8": "b",
    "I16": "h",
    "U16": "H",
    "I32": "i",
    "U32": "I",
    "I64": "q",
    "U64": "Q",
}
_SIZES = {"d": 8, "f": 4, "e": 2, "bfloat16": 2, "b": 1, "B": 1}
_SIZES |= {"h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8}


@dataclass(frozen=True, slots=True)
class Layout:
    """How the bytes of an array are to be read."""

    dtype: str  # for people: "float32"
    code: str  # "" where values are compared as bytes
    shape: tuple[int, ...]
    swapped: bool = False  # whether its bytes are in the other order than this machine's
    by_column: bool = False
    parts: int = 1  # numbers per element: 2 for complex ones

    def index(self, number: int) -> tuple[int, ...]:
        """Return where the element with this number in the file stands in the array."""
        found = []
        for size in self.shape if self.by_column else reversed(self.shape):
            number, at = divmod(number, size)
            found.append(at)
        return tuple(found if self.by_column else reversed(found))

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


def npy_layout(content: Content) -> tuple[Layout, int]:
    """Read the header of an .npy file; return the layout and where the numbers begin.

    Raises ValueError for what is none.
    """
    if content[: len(NPY)] != NPY:
        raise ValueError("no .npy file")
    field = _SHORT if content[len(NPY)] == 1 else _LONG
    start = len(NPY) + 2 + field.size
    (length,) = field.unpack(content[start - field.size : start])
    if length > min(_LONGEST_HEADER, len(content)):
        raise ValueError("the header of an .npy file is cut off")
    try:
        header = ast.literal_eval(content[start : start + length].decode("latin-1").strip())
        descr, shape, by_column = header["descr"], header["shape"], header["fortran_order"]
    except (SyntaxError, KeyError, TypeError, struct.error, RecursionError) as error:
        raise ValueError("the header of an .npy file cannot be read") from error
    if type(shape) is not tuple or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("the header of an .npy file has no shape")
    found = _ENTRY.fullmatch(descr) if type(descr) is str else None
    if found is None:  # fields with names, and the like
        return Layout(str(descr), "", shape, by_column=bool(by_column)), start + length
    order, letter, size = found[1], found[2], int(found[3])
    code = _CODES.get(f"{letter}{size}", "")
    swapped = order == (">" if sys.byteorder == "little" else "<")
    names = {"f": "float", "c": "complex", "i": "int", "u": "uint", "b": "bool"}
    dtype = f"{names[letter]}{size * 8}" if code and letter != "b" else "bool" if code else descr
    parts = 2 if letter == "c" else 1
    return Layout(dtype, code, shape, swapped, bool(by_column), parts), start + length


def npy_differences(path: str, where: str, kept: Content, fresh: Content) -> list[Difference]:
    """Compare two .npy files; raise ValueError when one is none."""
    (one, start), (two, other_start) = npy_layout(kept), npy_layout(fresh)
    if one != two:
        return [Difference(path, "array", where, f"it was {one} and is {two}")]
    found = array_difference(path, where, one, kept[start:], fresh[other_start:])
    return [found] if found else []


def tensor_layouts(content: Content) -> tuple[dict[str, tuple[Layout, int, int]], object]:
    """Read the header of a .safetensors file: layout, start and end by name; and its metadata.

    Raises ValueError for what is none.
    """
    begin = _LENGTH.size
    (length,) = _LENGTH.unpack(content[:begin].ljust(begin, b"\xff"))
    if length > min(_LONGEST_HEADER, len(content) - begin):
        raise ValueError("no .safetensors file")
    try:
        header = json.loads(content[begin : begin + length])
        metadata = header.pop("__metadata__", None)
        found = {}
        for name, entry in header.items():
            first, last = (begin + length + offset for offset in entry["data_offsets"])
            shape, dtype = tuple(entry["shape"]), entry["dtype"]
            found[name] = (Layout(dtype, _TENSORS.get(dtype, ""), shape), first, last)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("the header of a .safetensors file cannot be read") from error
    return found, metadata


def tensor_differences(path: str, where: str, kept: Content, fresh: Content) -> list[Difference]:
    """Compare two .safetensors files; raise ValueError when one is none."""
    (one, notes), (two, other_notes) = tensor_layouts(kept), tensor_layouts(fresh)
    found: list[Difference] = []
    for name in sorted({*one, *two}):
        place = within(where, f"tensor `{name}`")
        if name not in two or name not in one:
            kind = "missing" if name in one else "extra"
            found.append(Difference(path, kind, place, _ABSENT[kind]))
            continue
        (layout, start, end), (other, other_start, other_end) = one[name], two[name]
        if layout != other:
            found.append(Difference(path, "array", place, f"it was {layout} and is {other}"))
            continue
        pair = (kept[start:end], fresh[other_start:other_end])
        if difference := array_difference(path, place, layout, *pair):
            found.append(difference)
    if notes != other_notes:
        what = f"it was {json.dumps(notes)[:200]} and is {json.dumps(other_notes)[:200]}"
        found.append(Difference(path, "text", within(where, "the metadata"), what))
    elif not found:
        what = "the same tensors and metadata, in another order"
        found.append(Difference(path, "order", where, what))
    return found


_ABSENT = {"missing": "it was there and is not", "extra": "it was not there and is"}


def array_difference(
    path: str, where: str, layout: Layout, kept: bytes, fresh: bytes
) -> Difference | None:
    """Compare the bytes of two arrays of one layout; return None when they are equal."""
    if kept == fresh:
        return None
    if not layout.code or len(kept) != len(fresh):
        number = sum(map(ne, kept, fresh)) + abs(len(kept) - len(fresh))
        return Difference(path, "array", where, f"{layout}: {number:,} bytes differ")
    seen = _Seen()
    size = _SIZES[layout.code] * layout.parts
    for at in range(0, len(kept), _CHUNK):
        one, two = kept[at : at + _CHUNK], fresh[at : at + _CHUNK]
        if one != two:
            seen.add(at // size, _numbers(one, layout), _numbers(two, layout), layout.parts)
    total = len(kept) // size
    if not seen.count:
        return Difference(
            path, "array", where, f"{layout}: only signs of zero or bits of NaN differ", 0, total
        )
    first = layout.index(seen.first)
    return Difference(
        path,
        "array",
        where,
        f"{layout}: {seen.count:,} of {total:,} values differ{seen.distance()}, "
        f"first at {list(first)}: {shown(seen.pair[0])} and {shown(seen.pair[1])}",
        seen.count,
        total,
        seen.largest,
        seen.relative,
        first,
    )


class _Seen:
    """What has been seen of the values that differ."""

    def __init__(self) -> None:
        self.count = 0
        self.first = -1
        self.pair: tuple[float, float] = (0.0, 0.0)
        self.largest: float | None = None
        self.relative: float | None = None
        self.strange = 0  # infinite, not a number, or of a size that no result has

    def add(self, start: int, one: Sequence[float], two: Sequence[float], parts: int) -> None:
        """Add what differs between two runs of numbers, the first of which is element `start`."""
        places = list(compress(range(len(one)), map(ne, one, two)))
        differing: set[int] = set()
        largest, relative = self.largest or 0.0, self.relative or 0.0
        for place in places:
            a, b = one[place], two[place]
            if a != a and b != b:  # noqa: PLR0124 - NaN in both is no difference
                continue
            if self.first < 0:
                self.first, self.pair = start + place // parts, (a, b)
            differing.add(place // parts)
            if self.count + len(differing) > _MOST_LOOKED_AT:
                continue
            distance = abs(b - a)
            if not distance < math.inf:
                self.strange += 1
                continue
            largest = max(largest, distance)
            size = max(abs(a), abs(b))
            relative = max(relative, distance / size)
        self.count += len(differing)
        if self.count > self.strange:
            self.largest, self.relative = float(largest), float(relative)

    def distance(self) -> str:
        """Return how far the values are apart, in words."""
        words = ""
        if self.largest is not None and self.relative is not None:
            words = f" by at most {self.largest:.3g} (relative {self.relative:.2g})"
        return words + (f", {self.strange:,} of them infinite or NaN" if self.strange else "")


def _numbers(content: bytes, layout: Layout) -> Sequence[float]:
    """Return the numbers in some bytes."""
    whole = len(content) - len(content) % _SIZES[layout.code]
    order = "<" if (sys.byteorder == "little") != layout.swapped else ">"
    if layout.code == "bfloat16":
        return [_bfloat16(half) for (half,) in struct.iter_unpack(order + "H", content[:whole])]
    if layout.code == "e":
        return [number for (number,) in struct.iter_unpack(order + "e", content[:whole])]
    found: array[float] = array(layout.code, content[:whole])
    if layout.swapped:
        found.byteswap()
    return found


def _bfloat16(half: int) -> float:
    value: float = struct.unpack("<f", struct.pack("<I", half << 16))[0]
    return value


def shown(value: float) -> str:
    """Return a number as people read it, with enough digits to tell it from its neighbours."""
    return f"{value:.0f}" if value % 1 == 0 and abs(value) < _EXACT else f"{value:.9g}"


def is_absurd(one: Difference) -> bool:
    """Say whether the values that differ look like memory that nobody has written."""
    return one.kind == "array" and one.largest is not None and one.largest > _ABSURD
