"""Result: what running an action gave, and its bytes on disk (docs/format.md)."""

import json
from dataclasses import dataclass
from typing import Any

from mlbuild.core.action import Json
from mlbuild.core.digest import Digest, digest_of
from mlbuild.errors import InputError

MAGIC = b"mlbuild result 1 "


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes behind an artifact. A symlink never stands for itself here: it lives in a tree."""

    kind: str  # "f" a file, "x" an executable file, "t" a tree
    digest: Digest

    def __str__(self) -> str:
        """Return the text that stands in a manifest."""
        return f"{self.kind}:{self.digest.hash}:{self.digest.size}"


@dataclass(frozen=True, slots=True)
class Result:
    """What running an action gave. Only a complete success becomes one."""

    outputs: tuple[tuple[str, Content], ...]  # path relative to the output directory
    tree: Digest  # the Tree of all outputs together
    metrics: dict[str, Json] | None = None
    seconds: float = 0.0  # wall time of the command
    cpu_seconds: float = 0.0
    peak_memory: int = 0  # bytes; of the largest process where no cgroup counts
    hermetic: bool = True
    executor: str = ""
    log: Digest | None = None
    undeclared: tuple[str, ...] = ()  # what it wrote besides, not kept
    share: bool = True  # whether it may leave this store for others
    gpus: tuple[str, ...] = ()  # that it ran on: model, driver, CUDA
    resumed: bool = False  # whether it went on with what a killed attempt had left


def encode(result: Result) -> bytes:
    """Return the stored bytes: a line with the digest of the rest, then canonical JSON."""
    body = json.dumps(
        {
            "outputs": [[path, str(content)] for path, content in result.outputs],
            "tree": _text(result.tree),
            "metrics": result.metrics,
            "seconds": result.seconds,
            "cpu_seconds": result.cpu_seconds,
            "peak_memory": result.peak_memory,
            "hermetic": result.hermetic,
            "executor": result.executor,
            "log": _text(result.log) if result.log else None,
            "undeclared": list(result.undeclared),
            **({} if result.share else {"share": False}),
            **({"gpus": list(result.gpus)} if result.gpus else {}),
            **({"resumed": True} if result.resumed else {}),
        },
        sort_keys=True,
        separators=(",", ":"),
    ).encode()
    return MAGIC + digest_of(body).hash.encode() + b"\n" + body


def decode(stored: bytes) -> Result:
    """Read what `encode` wrote; raise InputError when a single bit differs."""
    head, _, body = stored.partition(b"\n")
    if head != MAGIC + digest_of(body).hash.encode():
        raise InputError("a stored result is damaged or of another version")
    fields: dict[str, Any] = json.loads(body)
    return Result(
        outputs=tuple((path, _content(text)) for path, text in fields["outputs"]),
        tree=_digest(fields["tree"]),
        metrics=fields["metrics"],
        seconds=fields["seconds"],
        cpu_seconds=fields["cpu_seconds"],
        peak_memory=fields["peak_memory"],
        hermetic=fields["hermetic"],
        executor=fields["executor"],
        log=_digest(fields["log"]) if fields["log"] else None,
        undeclared=tuple(fields["undeclared"]),
        share=fields.get("share", True),
        gpus=tuple(fields.get("gpus", ())),
        resumed=bool(fields.get("resumed", False)),
    )


def _text(digest: Digest) -> str:
    return f"{digest.hash}:{digest.size}"


def _digest(text: str) -> Digest:
    hash_, _, size = text.partition(":")
    return Digest(hash_, int(size))


def _content(text: str) -> Content:
    kind, _, rest = text.partition(":")
    return Content(kind, _digest(rest))
