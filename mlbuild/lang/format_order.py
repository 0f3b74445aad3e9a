"""The order of what may stand in any order: loads, their names, `name`, labels."""

import re
from collections.abc import Callable, Sequence

from mlbuild.lang.dialect import Dialect
from mlbuild.lang.format_read import Block, Group, Item, Line, Part, attribute_of, is_load
from mlbuild.lang.format_words import Remark, Word

SORTED = frozenset({"deps", "tags", "visibility"})  # lists whose order says nothing
_Key = tuple[object, ...]


def ordered(block: Block, dialect: Dialect) -> Block:
    """Return the statements of a file with everything in its order.

    What has a comment right above it holds its place: the comment may speak of all that follows.
    """
    lines = _sorted_loads([_with_sorted_names(line) for line in block.lines])
    if dialect is Dialect.BUILD:
        lines = [_with_ordered_calls(line) for line in lines]
    return block._replace(lines=tuple(lines))


# Loads


def _sorted_loads(lines: Sequence[Line]) -> list[Line]:
    """Sort loads that stand directly below each other by label."""
    found: list[Line] = []
    run: list[Line] = []
    for line in lines:
        if run and (line.first.above or _load_key(line) is None):
            found += _sorted_run(run)
            run = []
        if _load_key(line) is None or _is_commented(line):
            found.append(line)
        else:
            run.append(line)
    return found + _sorted_run(run)


def _sorted_run(run: list[Line]) -> list[Line]:
    """Sort loads; what stands above the first of them stays there."""
    if len(run) < 2:  # noqa: PLR2004 - nothing to sort
        return run
    above = run[0].first.above
    first, *others = sorted((_with_above(line, ()) for line in run), key=_load_key_of)
    return [_with_above(first, above), *others]


def _load_key(line: Line) -> _Key | None:
    """Order loads by label: other repositories, the workspace, the package."""
    group = line.parts[-1]
    if line.verbatim or not is_load(line) or not isinstance(group, Group):
        return None
    module = _text(group.items[0])
    if module is None:
        return None
    phase = 0 if module.startswith("@") else 1 if module.startswith("//") else 2
    return (phase, *module.partition(":"))


def _load_key_of(line: Line) -> _Key:
    return _load_key(line) or ()


def _is_commented(line: Line) -> bool:
    above = line.first.above
    return bool(above) and above[-1].text != ""


def _with_above(line: Line, above: tuple[Remark, ...]) -> Line:
    return line._replace(parts=(line.first._replace(above=above), *line.parts[1:]))


def _with_sorted_names(line: Line) -> Line:
    """Return a load with the names sorted: those that keep their name, then the renamed."""
    group = line.parts[-1]
    if line.verbatim or not is_load(line) or not isinstance(group, Group):
        return line
    names = _sorted_items(group.items[1:], _name_key)
    group = group._replace(items=(group.items[0], *names))
    return line._replace(parts=(*line.parts[:-1], group))


def _name_key(item: Item) -> _Key:
    return (len(item.parts) > 1, item.first.text.strip("\"'"))


# Targets


def _with_ordered_calls(line: Line) -> Line:
    """Return a line of a BUILD file; if it declares targets, their attributes are in order."""
    *front, last = line.parts
    if line.verbatim or not isinstance(last, Group):
        return line
    if last.kind == "call" and _is_name(front):
        return line._replace(parts=(*front, _ordered_call(last)))
    if last.kind == "comprehension" and not front:
        item = last.items[0]
        call = next((at for at, part in enumerate(item.parts) if isinstance(part, Group)), 0)
        group = item.parts[call]
        if isinstance(group, Group) and group.kind == "call" and _is_name(item.parts[:call]):
            parts = (*item.parts[:call], _ordered_call(group), *item.parts[call + 1 :])
            return line._replace(parts=(last._replace(items=(item._replace(parts=parts),)),))
    return line


def _is_name(parts: Sequence[Part]) -> bool:
    """Say whether `parts` are a name, also a dotted one, and nothing else."""
    return all(isinstance(part, Word) and part.type in {"NAME", "DOT"} for part in parts)


def _ordered_call(call: Group) -> Group:
    """Return the call of a rule with `name` before all other attributes and its labels sorted."""
    items = [_with_sorted_labels(item) for item in call.items]
    names = [attribute_of(item) for item in items]
    if "name" in names:
        name = names.index("name")
        first = next(at for at, found in enumerate(names) if found)
        # What calls something may do something: it stays where it is.
        if not any(_calls(part) for part in items[name].parts):
            items.insert(first, items.pop(name))
    return call._replace(items=tuple(items))


def _calls(part: Part) -> bool:
    """Say whether evaluating `part` calls something."""
    if isinstance(part, Word):
        return False
    return part.kind == "call" or any(_calls(one) for item in part.items for one in item.parts)


def _with_sorted_labels(item: Item) -> Item:
    """Return an attribute with its lists sorted, if their order says nothing."""
    if attribute_of(item) not in SORTED:
        return item
    parts = [
        part._replace(items=tuple(_sorted_items(part.items, _label_key)))
        if isinstance(part, Group) and part.kind == "list" and not _keeps_order(item, part)
        else part
        for part in item.parts
    ]
    return item._replace(parts=tuple(parts))


def _keeps_order(item: Item, group: Group) -> bool:
    """Say whether a comment above an attribute, or in its list, asks not to sort it."""
    firsts = [item.first, group.close, *(one.first for one in group.items)]
    said = [remark.text for word in firsts for remark in word.above]
    return any("do not sort" in comment.lower() for comment in [group.open.behind, *said])


def _label_key(item: Item) -> _Key | None:
    """Order labels: files, targets of the package, of the workspace, of other repositories."""
    text = _text(item)
    if text is None:
        return None
    phase = next((at for at, sign in enumerate((":", "//", "@"), 1) if text.startswith(sign)), 0)
    return (phase, re.split("[:.]", text), text)


# Items


def _sorted_items(items: Sequence[Item], key: Callable[[Item], _Key | None]) -> list[Item]:
    """Sort items between those that hold their place: without a key, or with a comment above."""
    found: list[Item] = []
    run: list[tuple[_Key, int, Item]] = []
    for at, item in enumerate(items):
        commented = any(remark.text for remark in item.first.above)
        wanted = None if commented else key(item)
        if wanted is None:
            found += [*(one for *_, one in sorted(run)), item]
            run = []
        else:
            run.append((wanted, at, item))
    return [*found, *(one for *_, one in sorted(run))]


def _text(item: Item) -> str | None:
    """Return what an item says that is a plain string and nothing else."""
    found = re.fullmatch(r"""(["'])([^"'\\\n]*)\1""", item.first.text)
    return found[2] if found and len(item.parts) == 1 else None
