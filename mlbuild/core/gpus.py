"""GpuWish: what an action says of the GPUs it needs: `"1"`, `"A100"`, `"A100:2"`."""

import re
from dataclasses import dataclass

from mlbuild.errors import InputError

_WISH = re.compile(r"(?:(?P<model>[A-Za-z][\w .+-]*?):)?(?P<count>[1-9]\d{0,3})")
_MODEL = re.compile(r"[A-Za-z][\w .+-]*")
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class GpuWish:
    """So many GPUs, each of whose names has all words of `model`."""

    count: int
    model: str = ""

    def fits(self, name: str) -> bool:
        """Say whether a GPU of that name will do: "NVIDIA A100-SXM4-80GB" for `A100`."""
        return set(_WORD.findall(self.model.lower())) <= set(_WORD.findall(name.lower()))

    def __str__(self) -> str:
        what = f"{self.model} GPU" if self.model else "GPU"
        return f"{self.count} {what}" + ("s" if self.count > 1 else "")


def parse_wish(text: str) -> GpuWish:
    """Read what stands in `resources`. Raises InputError for what is no wish."""
    found = _WISH.fullmatch(text)
    if found:
        return GpuWish(int(found["count"]), found["model"] or "")
    if _MODEL.fullmatch(text):
        return GpuWish(1, text)
    raise InputError(
        f"`gpus` is a number from 1 or `MODEL:NUMBER`, not `{text}`",
        hints=('for example `"gpus": 1`, `"gpus": "A100"` or `"gpus": "A100:2"`',),
    )
