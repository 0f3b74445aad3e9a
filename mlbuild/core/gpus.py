"""GpuWish: what an action says of the GPUs it needs: `"1"`, `"A100"`, `"A100-80GB:2"`.

Several stand in the order of preference, in one text with commas between them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlbuild.errors import InputError

_WISH = re.compile(r"(?:(?P<model>[A-Za-z][\w .+-]*?):)?(?P<count>[1-9]\d{0,3})")
_MODEL = re.compile(r"[A-Za-z][\w .+-]*")
_WORD = re.compile(r"[a-z0-9]+")
_MEMORY = re.compile(r"(\d{1,4})(?:g|gb|gib)")
_SHORT = 0.98  # of what is sold as so many GB, the part that a driver may call its own


@dataclass(frozen=True, slots=True)
class GpuWish:
    """So many GPUs, each of whose names has all words of `model`."""

    count: int
    model: str = ""

    def fits(self, name: str, memory: int = 0) -> bool:
        """Say whether a GPU of that name will do: "NVIDIA A100-SXM4-80GB" for `A100-80GB`.

        A name that is silent about its memory is helped by the bytes that there are, 0 if unknown.
        """
        wanted, amounts = _words(self.model)
        has, stated = _words(name)
        if not wanted <= has:
            return False
        return all(one in stated if stated else _is_sold_as(one, memory) for one in amounts)

    def __str__(self) -> str:
        what = f"{self.model} GPU" if self.model else "GPU"
        return f"{self.count} {what}" + ("s" if self.count > 1 else "")


def parse_wish(text: str) -> GpuWish:
    """Read one wish of `resources`. Raises InputError for what is none."""
    found = _WISH.fullmatch(text)
    if found:
        return GpuWish(int(found["count"]), found["model"] or "")
    if _MODEL.fullmatch(text):
        return GpuWish(1, text)
    raise InputError(
        f"`gpus` is a number from 1 or `MODEL:NUMBER`, not `{text}`",
        hints=(
            'for example `"gpus": 1`, `"gpus": "A100"` or `"gpus": "A100-80GB:2"`',
            'a list is an order of preference: `"gpus": ["A100-80GB:2", "H100"]`',
        ),
    )


def joined(wishes: Sequence[str]) -> str:
    """Return wishes, each as somebody wrote it, as one text; "" for none."""
    return ", ".join(dict.fromkeys(wishes))


def parse_wishes(text: str) -> tuple[GpuWish, ...]:
    """Read what `joined` wrote, the one that is liked best first; nothing for ""."""
    return tuple(parse_wish(one) for one in text.split(", ")) if text else ()


def either(wishes: Sequence[GpuWish]) -> str:
    """Say what is wished for: "2 A100 GPUs or 1 GPU"."""
    return " or ".join(map(str, wishes))


def _words(text: str) -> tuple[set[str], set[int]]:
    """Return the words of a name, and apart from them those that are an amount of memory in GB."""
    words, amounts = set(), set()
    for word in _WORD.findall(text.lower()):
        if memory := _MEMORY.fullmatch(word):
            amounts.add(int(memory[1]))
        else:
            words.add(word)
    return words, amounts


def _is_sold_as(gigabytes: int, memory: int) -> bool:
    """Say whether so many bytes are what is sold as so many GB: some count in 2**30, some less."""
    return _SHORT * gigabytes * 10**9 <= memory <= gigabytes << 30
