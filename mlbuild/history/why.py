"""Why: the difference between two manifests, in words."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from mlbuild.core.action import OUT
from mlbuild.core.manifest import Fact, Manifest

LONGEST = 60  # letters of a value that are shown
MANY = 1000  # words of a command line that are still aligned
GROUPS = ("params", "sources", "env", "tools", "command", "other")


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact that is not as it was. `before` or `after` is None where there was or is none."""

    group: str  # one of GROUPS
    name: str  # "params.lr", "input models/train.py"
    change: str  # "0.05 → 0.1", "changed", "added"
    before: str | None = None
    after: str | None = None

    def __str__(self) -> str:
        return f"{self.name}  {self.change}"


def differences(old: Manifest, new: Manifest) -> list[Difference]:
    """Return what differs: params, sources, environment, tools, command, then the rest."""
    before = {_name(fact): fact for fact in old}
    after = {_name(fact): fact for fact in new}
    names = list(dict.fromkeys([*after, *before]))
    changed = [name for name in names if not _equal(before.get(name), after.get(name))]
    found = [
        _difference(name, before.get(name), after.get(name))
        for name in changed
        if not name.startswith("argv[") and not _implied(name, changed)
    ]
    found += _command(_argv(old), _argv(new))
    return sorted(found, key=_rank)


def reason(found: list[Difference]) -> str:
    """Return the differences in a few words, such as `params.lr 0.05 → 0.1 and 3 more`."""
    if not found:
        return ""
    first = f"{found[0].name} {found[0].change}"
    return f"{first} and {len(found) - 1} more" if len(found) > 1 else first


def _equal(old: Fact | None, new: Fact | None) -> bool:
    return old is not None and new is not None and (old.type, old.value) == (new.type, new.value)


def _name(fact: Fact) -> str:
    """Return what a fact is about: for a named input its name, not its place in the list."""
    if fact.name.startswith("name["):
        return f"name[{fact.value.partition(' = ')[0]}]"
    return fact.name


def _implied(name: str, changed: list[str]) -> bool:
    """Say whether the number of items of a parameter changed only as its items tell anyway."""
    if not name.startswith("params."):
        return False
    whole, _, last = name.rpartition(".")
    items = {"length": f"{whole}[", "keys": f"{whole}."}.get(last)
    counts = {f"{whole}.length", f"{whole}.keys"}
    return items is not None and any(one.startswith(items) for one in changed if one not in counts)


def _difference(name: str, old: Fact | None, new: Fact | None) -> Difference:
    group, shown = _worded(name)
    before, after = _value(old), _value(new)
    one = old or new
    assert one is not None
    if one.type == "d" and (group in {"sources", "tools"}):
        change = _content_change(old, new)
    elif before is None:
        change = f"added ({_short(after or '')})"
    elif after is None:
        change = f"removed (was {_short(before)})"
    else:
        change = _contrast(before, after)
    return Difference(group, shown, change, before, after)


def _worded(name: str) -> tuple[str, str]:
    """Return the group of a fact and its name for people."""
    found = re.fullmatch(r"(input|env|tool|output|name)\[(.*)\]", name, re.DOTALL)
    if found is None:
        return ("params" if name.startswith("params.") or name == "seed" else "other"), name
    kind, inner = found.groups()
    return {
        "input": ("sources", f"input {inner}"),
        "env": ("env", name),
        "tool": ("tools", f"tool {inner}"),
        "output": ("other", f"output {inner}"),
        "name": ("other", f"input named {inner}"),
    }[kind]


def _value(fact: Fact | None) -> str | None:
    """Return the value of a fact as it would be written: a text in quotes, a number bare."""
    if fact is None:
        return None
    quoted = fact.type == "s" and fact.name.startswith(("params.", "env[", "argv["))
    return json.dumps(fact.value, ensure_ascii=False) if quoted else fact.value


def _content_change(old: Fact | None, new: Fact | None) -> str:
    """Say how a file or tree differs: `kind:hash:size` are the parts of its value."""
    if old is None:
        return "added"
    if new is None:
        return "removed"
    before, after = old.value.split(":"), new.value.split(":")
    if before[1:] == after[1:] and {before[0], after[0]} == {"f", "x"}:
        return "is executable now" if after[0] == "x" else "is not executable any more"
    return "changed"


def _argv(manifest: Manifest) -> list[str]:
    return [
        json.dumps(fact.value, ensure_ascii=False)
        for fact in manifest
        if fact.name.startswith("argv[")
    ]


def _command(old: list[str], new: list[str]) -> Iterator[Difference]:
    """Yield what differs between two command lines; a word put in does not shift the others."""
    if old == new:
        return
    pairs: Iterator[tuple[int, str | None, str | None]]
    aligned = len(old) != len(new) and len(old) + len(new) <= MANY
    pairs = _aligned(old, new) if aligned else _in_step(old, new, 0)
    for index, before, after in pairs:
        if before is None:
            change = f"added ({_short(after or '')})"
        elif after is None:
            change = f"removed (was {_short(before)})"
        else:
            change = _contrast(before, after)
        yield Difference("command", f"argv[{index}]", change, before, after)


def _aligned(old: list[str], new: list[str]) -> Iterator[tuple[int, str | None, str | None]]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for kind, start, end, begin, finish in matcher.get_opcodes():
        if kind != "equal":
            yield from _in_step(
                old[start:end], new[begin:finish], begin if finish > begin else start
            )


def _in_step(
    old: list[str], new: list[str], first: int
) -> Iterator[tuple[int, str | None, str | None]]:
    """Yield index, old and new word of those that differ when both are read side by side."""
    for index in range(max(len(old), len(new))):
        before = old[index] if index < len(old) else None
        after = new[index] if index < len(new) else None
        if before != after:
            yield first + index, before, after


def _contrast(before: str, after: str) -> str:
    """Return `before → after`; of long texts only the surroundings of what differs."""
    if len(before) <= LONGEST and len(after) <= LONGEST:
        return f"{before} → {after}"
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    start = max(0, start - 12)
    lead = "…" if start else ""
    return f"{lead}{_short(before[start:])} → {lead}{_short(after[start:])}"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _rank(difference: Difference) -> tuple[int, int, str]:
    """Return the place of a difference among others: sources before what was built from them."""
    built = difference.name.startswith(f"input {OUT}/")
    return GROUPS.index(difference.group), int(built), _numbered(difference.name)


def _numbered(name: str) -> str:
    """Return a text by which `argv[10]` comes after `argv[9]`."""
    padded: Callable[[re.Match[str]], str] = lambda found: found[0].zfill(8)  # noqa: E731
    return re.sub(r"\d+", padded, name)
