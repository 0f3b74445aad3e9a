"""Order: one command as another machine is to run it, in canonical bytes.

Nothing secret is in it, and nothing of the place where it was written: the same command over the
same inputs is the same order, so whoever asks again finds the run that there is.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from mlbuild.core.action import (
    Action,
    InputRef,
    Output,
    OutputRef,
    Run,
    ToolRef,
    Word,
)
from mlbuild.core.digest import Digest, digest_of
from mlbuild.core.result import Content
from mlbuild.errors import InputError

VERSION = 1  # of the encoding
_REFERENCES: Mapping[str, type[InputRef | OutputRef | ToolRef]] = {
    "input": InputRef,
    "output": OutputRef,
    "tool": ToolRef,
}


@dataclass(frozen=True, slots=True)
class Item:
    """An input: what it is, and the tree that brings it."""

    path: str  # where the action sees it
    content: Content
    tree: Digest
    below: str  # path in that tree; "" for all of it


@dataclass(frozen=True, slots=True)
class Wanted:
    """A host tool as the key knows it."""

    content: str  # identity
    mount: str  # where a sandbox shows it


@dataclass(frozen=True, slots=True)
class Order:
    """One command to run on another machine."""

    key: str  # of its action; "" where nobody may be given its result
    mlbuild: str  # the version that wrote it
    action: Action
    items: tuple[Item, ...]
    tools: Mapping[str, Wanted]
    platform: str
    numerics: str = ""  # class of the processor, where every bit must repeat
    checkpoint: bool = False  # whether it may leave something for the next attempt
    plain: bool = False  # whether a plain process will do: what that makes is not shared
    nonce: str = ""  # makes this order unlike all others

    @property
    def run(self) -> Run:
        """The command."""
        assert isinstance(self.action.does, Run)
        return self.action.does

    @property
    def trees(self) -> tuple[Digest, ...]:
        """The trees that its inputs come in."""
        return tuple(dict.fromkeys(item.tree for item in self.items))


def order_id(content: bytes) -> str:
    """Return the name of an encoded order, 64 hex digits."""
    return digest_of(content).hash


def encode(order: Order) -> bytes:
    """Return the canonical bytes."""
    run = order.run
    said = {
        "order": VERSION,
        "key": order.key,
        "mlbuild": order.mlbuild,
        "action": {
            **{name: getattr(order.action, name) for name in ("id", "owner", "mnemonic", "folder")},
            "outputs": [asdict(output) for output in order.action.outputs],
        },
        "run": {
            **{one.name: getattr(run, one.name) for one in fields(Run)},
            "argv": [_flat(word) for word in run.argv],
            "env": [[name, _flat(word)] for name, word in run.env],
        },
        "items": [
            (
                *(item.path, item.content.kind, *_numbers(item.content.digest)),
                *(*_numbers(item.tree), item.below),
            )
            for item in order.items
        ],
        "tools": {name: asdict(tool) for name, tool in order.tools.items()},
        "platform": order.platform,
        "numerics": order.numerics,
        "checkpoint": order.checkpoint,
        "plain": order.plain,
        "nonce": order.nonce,
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def decode(content: bytes) -> Order:
    """Read what `encode` wrote; raise InputError for anything else."""
    try:
        said: dict[str, Any] = json.loads(content)
        if said["order"] != VERSION:
            raise InputError(f"an order of version {said['order']}, which is none of ours")
        items = tuple(
            Item(path, Content(kind, Digest(hash_, size)), Digest(tree, length), below)
            for path, kind, hash_, size, tree, length, below in said["items"]
        )
        action = said["action"]
        return Order(
            said["key"],
            said["mlbuild"],
            Action(
                action["id"],
                action["owner"],
                action["mnemonic"],
                _run(said["run"]),
                inputs=tuple(item.path for item in items),
                outputs=tuple(Output(**output) for output in action["outputs"]),
                folder=action["folder"],
            ),
            items,
            {name: Wanted(**tool) for name, tool in said["tools"].items()},
            said["platform"],
            said["numerics"],
            checkpoint=said["checkpoint"],
            plain=said["plain"],
            nonce=said["nonce"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("an order that cannot be read") from error


def _numbers(digest: Digest) -> tuple[str, int]:
    return digest.hash, digest.size


def _flat(word: Word) -> list[str | list[str]]:
    """Return the parts of a word; references as a kind and a name."""
    return [part if isinstance(part, str) else _reference(part) for part in word]


def _reference(part: InputRef | OutputRef | ToolRef) -> list[str]:
    match part:
        case InputRef(name):
            return ["input", name]
        case OutputRef(name):
            return ["output", name]
        case ToolRef(name):
            return ["tool", name]


def _word(parts: list[Any]) -> Word:
    return tuple(part if isinstance(part, str) else _REFERENCES[part[0]](part[1]) for part in parts)


def _run(said: dict[str, Any]) -> Run:
    """Return a command; fields that this version does not know make the order unreadable."""
    run = Run(**said)
    return replace(
        run,
        argv=tuple(_word(word) for word in said["argv"]),
        env=tuple((name, _word(word)) for name, word in said["env"]),
        names=tuple((name, path) for name, path in said["names"]),
        tools=tuple(said["tools"]),
        caller_env=tuple(said["caller_env"]),
        quiet_env=tuple((name, value) for name, value in said["quiet_env"]),
    )
