"""Parts: what one line of a list gives, kept for itself, and the union of what all lines give.

An action with `each` makes one tree from a list, such as an environment from packages. Every line
has a key of its own, so that a list with one more line costs one line, whoever asked for the
others. What a part makes may depend on nothing but its line and the facts of the whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mlbuild.core.action import Action, InputRef, Output, Run, Word
from mlbuild.core.digest import digest_of
from mlbuild.core.manifest import Fact, Manifest, encode, key_of
from mlbuild.core.result import Content
from mlbuild.core.tree import Entry, Kind


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the list."""

    line: str
    key: str
    manifest: bytes


def own(path: str, folder: str) -> str:
    """Return the path by which parts see an input: one that their target made has no label in it.

    `folder` is where the outputs of the target appear.
    """
    prefix = f"{folder}/"
    return f"own/{path.removeprefix(prefix)}" if path.startswith(prefix) else path


def alone(action: Action, run: Run) -> Action:
    """Return `action` as its parts see it, whatever its target is called."""

    def renamed(word: Word) -> Word:
        return tuple(
            InputRef(own(part.path, action.folder)) if isinstance(part, InputRef) else part
            for part in word
        )

    does = replace(
        run,
        argv=tuple(map(renamed, run.argv)),
        env=tuple((name, renamed(word)) for name, word in run.env),
        names=tuple((name, own(path, action.folder)) for name, path in run.names),
        root=own(run.root, action.folder),
        each="",
    )
    inputs = sorted(own(path, action.folder) for path in action.inputs)
    return replace(action, does=does, inputs=tuple(inputs))


def part_of(facts: Manifest, path: str, line: str) -> Part:
    """Return the part for one line.

    `facts` are those of `alone`, whatever its list, the input at `path`, holds.
    """
    content = str(Content("f", digest_of(listing([line]))))
    manifest = encode(
        Fact(fact.name, fact.type, content) if fact.name == f"input[{path}]" else fact
        for fact in facts
    )
    return Part(line, key_of(manifest), manifest)


def listing(lines: Iterable[str]) -> bytes:
    """Return the bytes of a list."""
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def lines_of(content: bytes) -> list[str]:
    """Return the lines of a list, without empty ones."""
    text = content.decode("utf-8", "surrogateescape")
    return [line for line in text.split("\n") if line.strip()]


def joint(action: Action, count: int) -> Action:
    """Return the action that makes `count` parts at once: part n in the tree `<output>/<n>`."""
    (output,) = action.outputs
    outputs = tuple(Output(f"{output.path}/{n}", "tree") for n in range(count))
    return replace(action, outputs=outputs)


def union(trees: Iterable[Iterable[Entry]]) -> list[Entry]:
    """Return the entries of all `trees`; where two have one path, the later tree's counts."""
    found = {entry.path: entry for tree in trees for entry in tree}
    full = {
        "/".join(parts[:n])
        for path in found
        for parts in [path.split("/")]
        for n in range(1, len(parts))
    }
    return [
        entry for entry in found.values() if not (entry.kind is Kind.EMPTY and entry.path in full)
    ]
