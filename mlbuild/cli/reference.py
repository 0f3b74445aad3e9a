"""Reference: what rules and macros say of themselves, as text, Markdown and JSON."""

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlbuild import lang
from mlbuild.cli.session import Screen, Session
from mlbuild.config import load
from mlbuild.errors import InputError, did_you_mean
from mlbuild.graph.declare import RuleValue
from mlbuild.graph.loader import PRELUDE, Loader
from mlbuild.graph.schema import COMMON, Rule
from mlbuild.workspace import Workspace, rules_root

WIDTH = 96  # characters
SHARED: Mapping[str, tuple[str, str]] = {  # what all rules have: type and meaning
    "name": ("string", "The name of the target: what stands after the colon in its label."),
    "visibility": (
        "string_list",
        "Which packages may name the target, such as `//models:__subpackages__`.",
    ),
    "tags": ("string_list", "Words to select targets by; not part of the key."),
    "licenses": ("string_list", "The licences that the target comes under."),
    "cache": (
        "string",
        (
            'Who keeps its results: `"shared"` the team too, `"result"` the team but for the bytes,'
            ' `"local"` this machine, `"off"` nobody.'
        ),
    ),
}
HEAD = """\
# Rules

What every `BUILD.ml` can call without a `load`. This page is written by `mlbuild help --markdown`;
`mlbuild help RULE` shows one of them in the terminal. How to write rules of your own:
[examples/custom_rule](../examples/custom_rule).
"""
SHARED_HEAD = "## What all rules take"


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a rule or macro takes by one name."""

    name: str
    type: str  # "" where it is not known: of a macro's
    doc: str
    default: str = ""  # as it is written in a BUILD.ml; "" for none
    mandatory: bool = False
    values: tuple[str, ...] = ()  # the only ones allowed, as they are written; empty: all


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule or a macro, described."""

    name: str
    kind: str  # "rule" or "macro"
    path: str  # the file that defines it; "" of a macro of the library
    doc: str
    parameters: tuple[Parameter, ...]

    @property
    def summary(self) -> str:
        """The first line of the doc."""
        return self.doc.partition("\n")[0]


def library(screen: Screen) -> dict[str, Entry]:
    """Return what every BUILD.ml can call, by name; needs no workspace."""
    cache = load(rules_root(), environ=screen.environ, flags={}).cache_dir
    loader = Loader(Workspace(rules_root()), code=f"{cache}/code", say=_ignore)
    return _entries(loader.prelude(), path=PRELUDE)


def module(text: str, session: Session) -> dict[str, Entry]:
    """Return what the .bzl file `text`, such as `//tools:defs.bzl`, offers, by name."""
    code = f"{session.config.cache_dir}/code"
    loader = Loader(session.workspace, code=code, say=_ignore)
    return _entries(loader.module(text, None, package=session.package).globals, path=text)


def one_of(entries: Mapping[str, Entry], name: str, *, where: str) -> Entry:
    """Return the entry `name`; raise InputError where there is none."""
    if name not in entries:
        hints = did_you_mean(name, list(entries))
        listed = ", ".join(sorted(entries)) or "no rule and no macro"
        raise InputError(f"`{where}` has no `{name}`", hints=hints or (f"it has: {listed}",))
    return entries[name]


def _ignore(_: str) -> None:
    """Drop what a file prints: here it is only read for what it says of itself."""


def _entries(found: Mapping[str, Any], *, path: str) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for name, value in sorted(found.items()):
        if isinstance(value, RuleValue):
            entries[name] = _of_rule(name, value.rule)
        elif isinstance(value, lang.Function) and not name.startswith("_"):
            entries[name] = _of_macro(name, value, path=path)
    return entries


def _of_rule(name: str, rule: Rule) -> Entry:
    parameters = [
        Parameter(
            one,
            attribute.type,
            attribute.doc,
            "" if attribute.mandatory or attribute.default is None else _written(attribute.default),
            attribute.mandatory,
            tuple(map(_written, attribute.values)),
        )
        for one, attribute in rule.attributes.items()
        if not one.startswith("_")
    ]
    # What must be given comes first; otherwise the order is the author's.
    parameters.sort(key=lambda one: not one.mandatory)
    return Entry(name, "rule", rule.path, inspect.cleandoc(rule.doc), tuple(parameters))


def _of_macro(name: str, function: lang.Function, *, path: str) -> Entry:
    doc, args = _parsed(inspect.cleandoc(function.doc))
    parameters = []
    for one in inspect.signature(function.python).parameters.values():
        star = "*" * (one.kind is one.VAR_POSITIONAL) or "**" * (one.kind is one.VAR_KEYWORD)
        needed = one.default is one.empty and not star
        default = "" if one.default is one.empty else _written(one.default)
        described = args.get(star + one.name, args.get(one.name, ""))
        parameters.append(Parameter(star + one.name, "", described, default, needed))
    return Entry(name, "macro", "" if path == PRELUDE else path, doc, tuple(parameters))


def _written(value: Any) -> str:
    """Return a value as a BUILD.ml has it; a rule by its name."""
    if isinstance(value, RuleValue):
        return value.rule.name
    return lang.repr_of(lang.from_python(value))


def _parsed(doc: str) -> tuple[str, dict[str, str]]:
    """Return a docstring without its sections, and what `Args:` says of each name."""
    head, *sections = re.split(r"^(Args|Returns):\s*\n", doc, flags=re.MULTILINE)
    args: dict[str, str] = {}
    name = ""
    for title, text in zip(sections[::2], sections[1::2], strict=True):
        for line in textwrap.dedent(text).splitlines() if title == "Args" else ():
            found = re.fullmatch(r"(\*{0,2}\w+)(?: \([^)]*\))?:\s*(.*)", line)
            if found:
                name, args[found[1]] = found[1], found[2]
            elif name and line.strip():
                args[name] = f"{args[name]} {line.strip()}".strip()
    return head.strip(), args


def text_lines(entry: Entry) -> Iterator[str]:
    """Yield one entry as a terminal shows it."""
    yield f"{entry.name}: a {entry.kind}" + (f" of {entry.path}" if entry.path else "")
    yield ""
    for fenced, block in _blocks(entry.doc):
        yield from (f"    {line}".rstrip() for line in block) if fenced else _wrapped(block)
        yield ""
    yield "attributes:"
    for one in _with_shared(entry):
        facts = [one.type, "mandatory" if one.mandatory else ""]
        facts += [f"one of {', '.join(one.values)}"] if one.values else []
        facts += [f"default {one.default}"] if one.default not in _EMPTY else []
        yield f"  {one.name:<14}  {', '.join(filter(None, facts))}".rstrip()
        if one.doc:
            yield from textwrap.wrap(one.doc, WIDTH, initial_indent=_IN, subsequent_indent=_IN)


_IN = " " * 18
_EMPTY = ("", '""', "[]", "{}", "None")  # defaults that say nothing


def _with_shared(entry: Entry) -> Sequence[Parameter]:
    """Return the parameters, of a rule with those that all have: the name first, the rest last."""
    if entry.kind == "macro":
        return entry.parameters
    shared = [Parameter(one, *SHARED.get(one, ("", "")), mandatory=one == "name") for one in COMMON]
    return (shared[0], *entry.parameters, *shared[1:])


def _blocks(doc: str) -> Iterator[tuple[bool, list[str]]]:
    """Yield the blocks of a doc: code between fences, and what blank lines part."""
    block: list[str] = []
    fenced = False
    for line in [*doc.splitlines(), ""]:
        fence = line.startswith("```")
        if not fence and (line.strip() or fenced):
            block.append(line)
            continue
        if block:
            yield fenced, block
            block = []
        fenced = fenced != fence


def _wrapped(block: Sequence[str]) -> Iterator[str]:
    """Yield a paragraph, or the items of a list, in lines that are not too long."""
    items: list[str] = []
    for line in block:
        if items and not re.match(r"(-|\d+\.) ", line):
            items[-1] += " " + line.strip()
        else:
            items.append(line)
    for item in items:
        yield from textwrap.wrap(item, WIDTH, subsequent_indent="  " if item[0] == "-" else "")


def overview_lines(entries: Mapping[str, Entry]) -> Iterator[str]:
    """Yield a line for each entry."""
    width = max(map(len, entries), default=0)
    for entry in entries.values():
        yield f"  {entry.name:<{width}}  {entry.summary}".rstrip()


def markdown(entries: Mapping[str, Entry]) -> str:
    """Return the page of all entries."""
    shared = [Parameter(one, *SHARED.get(one, ("", "")), mandatory=one == "name") for one in COMMON]
    parts = [HEAD, "\n".join(_index(entries)), SHARED_HEAD, "\n".join(_table(shared))]
    for entry in entries.values():
        parts += [f"## `{entry.name}`", entry.doc, "\n".join(_table(entry.parameters))]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _index(entries: Mapping[str, Entry]) -> Iterator[str]:
    for entry in entries.values():
        yield f"- [`{entry.name}`](#{entry.name}): {entry.summary}"


def _table(parameters: Sequence[Parameter]) -> Iterator[str]:
    typed = any(one.type for one in parameters)
    yield (
        "| attribute | type | default | meaning |" if typed else "| attribute | default | meaning |"
    )
    yield "| --- | --- | --- | --- |" if typed else "| --- | --- | --- |"
    for one in parameters:
        default = f"`{one.default}`" if one.default not in _EMPTY else ""
        default = "mandatory" if one.mandatory else default
        values = f" One of {', '.join(f'`{value}`' for value in one.values)}." if one.values else ""
        cells = [f"`{one.name}`", *([one.type] if typed else []), default, one.doc + values]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def as_json(entry: Entry) -> dict[str, Any]:
    """Return one entry as JSON has it, with what all rules take."""
    return {**asdict(entry), "parameters": [asdict(one) for one in _with_shared(entry)]}
