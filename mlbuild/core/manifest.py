"""Manifest and Key: the ordered facts that a result may depend on, and the digest of them.

The bytes are specified in docs/format.md. Key and explanation walk the same list, so that they
cannot disagree.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlbuild.core.action import (
    Action,
    InputRef,
    Json,
    OutputRef,
    Run,
    ToolRef,
    Verify,
    Word,
    Write,
)
from mlbuild.core.digest import digest_of
from mlbuild.core.tree import encoded
from mlbuild.errors import InputError

_STEPS = frozenset('.[]"')  # what separates the steps to a param
VERSION = 1  # of the manifest: a change of what a fact means changes every key


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a result may depend on. `type` is one letter: s i f b n d (docs/format.md)."""

    name: str
    type: str
    value: str


Manifest = tuple[Fact, ...]


def facts(
    action: Action,
    *,
    inputs: Mapping[str, str],
    tools: Mapping[str, str],
    platform: str,
    salt: str = "",
    numerics: str = "",
) -> Manifest:
    """Return all that the result of `action` may depend on, in canonical order.

    `inputs` gives the content of each input path and `tools` of each host tool, as text;
    `platform` names the operating system and the instruction set, `numerics` what rounds the
    numbers of an action that must repeat to the last bit.
    """
    return tuple(
        _facts(action, inputs=inputs, tools=tools, platform=platform, salt=salt, numerics=numerics)
    )


def _facts(
    action: Action,
    *,
    inputs: Mapping[str, str],
    tools: Mapping[str, str],
    platform: str,
    salt: str,
    numerics: str,
) -> Iterator[Fact]:
    yield Fact("manifest", "i", str(VERSION))
    if salt:
        yield Fact("salt", "s", salt)
    match action.does:
        case Run() as run:
            # An image brings its own distribution and C library.
            yield Fact("platform", "s", platform.partition("/")[0] if run.root else platform)
            yield from _command(run, tools, numerics)
        case Write(content, executable):
            yield Fact("content", "s", content)
            yield Fact("executable", "b", str(executable))
        case Verify():
            raise AssertionError("a check has no key: it is done each time")
    for path in action.inputs:
        yield Fact(f"input[{path}]", "d", inputs[path])
    for output in action.outputs:
        named = f"{output.kind} {output.name}" if output.name else output.kind
        yield Fact(f"output[{output.path}]", "s", named)


def _command(run: Run, tools: Mapping[str, str], numerics: str) -> Iterator[Fact]:
    for index, word in enumerate(run.argv):
        yield Fact(f"argv[{index}]", "s", shown(word))
    for name, word in sorted(run.env):
        yield Fact(f"env[{name}]", "s", shown(word))
    for name in sorted(run.params):
        yield from _values(f"params{_step(name)}", run.params[name])
    yield Fact("cpus", "i", str(run.cpus))
    yield Fact("network", "b", str(run.network))
    if run.seed is not None:
        yield Fact("seed", "i", str(run.seed))
    for name in run.tools:
        yield Fact(f"tool[{name}]", "d", tools[name])
    for index, (name, path) in enumerate(run.names):
        # Doubled, so that the single one between them can be told from one of the name's own.
        yield Fact(f"name[{index}]", "s", f"{name.replace('=', '==')} = {path}")
    if run.metrics:
        yield Fact("metrics", "s", run.metrics)
    if run.each:
        yield Fact("each", "s", run.each)
    if run.root:
        yield Fact("root", "s", run.root)
    if run.determinism == "bitwise":
        yield Fact("determinism", "s", run.determinism)
        yield Fact("numerics", "s", numerics)


def shown(word: Word) -> str:
    """Return a word with its references written out, as `$(...)`, and every other `$` doubled."""
    return "".join(
        part.replace("$", "$$") if isinstance(part, str) else _reference(part) for part in word
    )


def _reference(part: InputRef | OutputRef | ToolRef) -> str:
    match part:
        case InputRef(name):
            kind = "input"
        case OutputRef(name):
            kind = "output"
        case ToolRef(name):
            kind = "tool"
    inner = name.replace("$", "$$").replace(")", "$)")
    return f"$({kind} {inner})"


def _values(name: str, value: Json) -> Iterator[Fact]:
    """Yield one fact per leaf of `value`; a container also says what it is, so `[]` is not `{}`."""
    match value:
        case None:
            yield Fact(name, "n", "null")
        case bool():
            yield Fact(name, "b", str(value))
        case int():
            yield Fact(name, "i", str(value))
        case float():
            yield Fact(name, "f", canonical_float(value, name))
        case str():
            yield Fact(name, "s", value)
        case list():
            yield Fact(f"{name}.length", "i", str(len(value)))
            for index, item in enumerate(value):
                yield from _values(f"{name}[{index}]", item)
        case dict():
            yield Fact(f"{name}.keys", "i", str(len(value)))
            for key in sorted(value):
                yield from _values(f"{name}{_step(key)}", value[key])


def _step(key: str) -> str:
    """Return the step from a dict to the value of `key`: `.lr`, or `["a.b"]`.

    A dot or bracket of the key itself cannot be taken for another step.
    """
    if key and not _STEPS.intersection(key):
        return f".{key}"
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'["{quoted}"]'


def canonical_float(value: float, name: str) -> str:
    """Return the shortest text that reads back as `value`; `-0.0` is `0.0`; NaN is refused."""
    if math.isnan(value):
        raise InputError(f"`{name}` is NaN, which equals nothing and so can be no part of a key")
    return repr(value + 0.0)


def encode(manifest: Iterable[Fact]) -> bytes:
    """Return the bytes whose digest is the Key: every field with its length in front."""
    parts: list[bytes] = []
    for fact in manifest:
        name, value = encoded(fact.name), encoded(fact.value)
        parts.append(b"%b%d:%b%d:%b\n" % (fact.type.encode(), len(name), name, len(value), value))
    return b"".join(parts)


def decode(content: bytes) -> Manifest:
    """Read what `encode` wrote. Raises InputError for anything else."""
    found: list[Fact] = []
    at = 0
    try:
        while at < len(content):
            kind = chr(content[at])
            name, at = _field(content, at + 1)
            value, at = _field(content, at)
            if content[at : at + 1] != b"\n":
                raise InputError("a manifest holds a fact without its end")
            at += 1
            found.append(Fact(name, kind, value))
    except ValueError as error:
        raise InputError("a manifest holds a fact that cannot be read") from error
    return tuple(found)


def _field(content: bytes, at: int) -> tuple[str, int]:
    colon = content.index(b":", at)
    end = colon + 1 + int(content[at:colon])
    if end > len(content):
        raise InputError("a manifest ends in the middle of a fact")
    return content[colon + 1 : end].decode("utf-8", "surrogateescape"), end


def key_of(manifest: bytes) -> str:
    """Return the Key: the BLAKE3 of an encoded manifest, 64 hex digits."""
    return digest_of(manifest).hash
