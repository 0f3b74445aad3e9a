"""Answers: the shape of what an agent answers to each question."""

from collections.abc import Mapping
from typing import Any

from mlbuild.remote.link.shapes import like

_SHAPES: Mapping[str, Any] = {
    "gpus": {"gpus": [("", "", "", 0, "")]},
    "insides": {"sandbox": ("", ""), "docker": ("", "")},
    "read": {"found": False},
    "write": {"written": False},
    "names": {"names": [("", 0, 0.0)]},
    "begin": {"there": False, "lacks": [("", 0)]},
    "await": {"gone": False, "sizes": [0]},
    "alive": {"alive": False},
    "states": {"rows": [("", "", "", "", False, False)]},
    "engine": {"version": "", "ping": "", "pools": [{"partition": ""}]},
    "facts": {
        "facts": {
            **dict.fromkeys(("host", "mlbuild", "python", "platform", "processor", "store"), ""),
            **dict.fromkeys(("cpus", "memory", "free"), 0),
        }
    },
}
_TROUBLE = {"trouble": "", "message": "", "cure": ""}
_ERROR = {"error": "", "hints": [""]}


def checked(question: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return an answer to `question`; raise ValueError for one that is none."""
    if "trouble" in found:
        shape: Any = _TROUBLE
    else:
        shape = _ERROR if "error" in found else _SHAPES.get(question, {})
    answer: dict[str, Any] = like(found, shape)
    return answer
