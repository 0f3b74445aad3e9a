"""Shape: what the rest of a graph can see of a target or a package, as plain data.

As long as shapes stay the same, nothing else in the graph can tell that a BUILD.ml was edited.
"""

import marshal
from typing import Any, Literal

from mlbuild import lang
from mlbuild.graph.context import Artifact
from mlbuild.graph.fields import Fields
from mlbuild.graph.package import Package

Kind = Literal["file", "tree"]
_VERSION = 2  # of marshal: the newest whose bytes depend on nothing but the values


class _Opaque(Exception):  # noqa: N818 - not an error: such a value has no shape
    """A value that is no plain data, such as a function."""


def shape_of(
    given: Fields,
    files: tuple[Artifact, ...],
    checks: tuple[str, ...],
    outputs: tuple[tuple[str, Kind], ...],
) -> bytes | None:
    """Return what those that depend on a target see: its fields, files, checks and outputs.

    None where it gives something that is no plain data.
    """
    try:
        plain = (_plain(given), [_plain(file) for file in files], checks, outputs)
    except _Opaque:
        return None
    return marshal.dumps(plain, _VERSION)


def seen(shape: bytes) -> tuple[Fields, tuple[Artifact, ...], tuple[str, ...]]:
    """Return fields, files and checks as `shape_of` was given them."""
    given, files, checks, _ = marshal.loads(shape)  # noqa: S302 - ours
    return _value(given), tuple(_value(file) for file in files), checks


def outputs_of(shape: bytes) -> tuple[tuple[str, Kind], ...]:
    """Return path and kind of each output."""
    outputs: tuple[tuple[str, Kind], ...] = marshal.loads(shape)[3]  # noqa: S302 - ours
    return outputs


def shape_of_package(package: Package) -> bytes:
    """Return what others see of a package beside its targets: names, and who may see them."""
    return marshal.dumps(
        (
            [(name, target.visibility) for name, target in sorted(package.targets.items())],
            [(path, target.label.name) for path, target in sorted(package.outputs.items())],
            [
                (name, group.packages, group.includes)
                for name, group in sorted(package.groups.items())
            ],
            sorted(package.exports.items()),
            package.visibility,
        ),
        _VERSION,
    )


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str() | bytes():
            return value
        case tuple():
            return ("t", [_plain(one) for one in value])
        case lang.List():
            return ("l", [_plain(one) for one in value])
        case lang.Dict():
            return ("d", [(_plain(key), _plain(one)) for key, one in value.items()])
        case lang.Struct():
            return ("s", [(name, _plain(one)) for name, one in value.fields.items()])
        case Fields():
            return ("f", value.lacks, [(name, _plain(one)) for name, one in value.values.items()])
        case Artifact():
            return ("a", value.path, value.kind, value.short, value.owner)
        case _:
            raise _Opaque


def _value(plain: Any) -> Any:
    if type(plain) is not tuple:
        return plain
    kind, *rest = plain
    match kind:
        case "t":
            return tuple(_value(one) for one in rest[0])
        case "l":
            return lang.freeze(lang.List([_value(one) for one in rest[0]]))
        case "d":
            made = lang.Dict({})
            for key, one in rest[0]:
                made[_value(key)] = _value(one)
            return lang.freeze(made)
        case "s":
            return lang.Struct({name: _value(one) for name, one in rest[0]})
        case "f":
            return Fields({name: _value(one) for name, one in rest[1]}, lacks=rest[0])
        case _:
            return Artifact(*rest)
