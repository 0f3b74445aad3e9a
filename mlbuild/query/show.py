"""Show: the labels that a query found, in every form that they can be asked for."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlbuild.query import draw
from mlbuild.query.paths import ranks
from mlbuild.query.record import GENERATED, RULES, order, package_of
from mlbuild.query.universe import Universe


@dataclass(frozen=True, slots=True)
class Found:
    """What a query found, in the order in which it is shown."""

    labels: Sequence[str]
    universe: Universe

    def below(self) -> dict[str, list[str]]:
        """Return of each label those among them that it names."""
        inside = set(self.labels)
        return {
            label: [one for one in self.universe.names(label) if one in inside]
            for label in self.labels
        }


@dataclass(frozen=True, slots=True)
class Form:
    """One form of output. `entries` says whether it is a list, one entry a line."""

    lines: Callable[[Found], list[str]]
    doc: str
    entries: bool = True


def _label(found: Found) -> list[str]:
    return list(found.labels)


def _label_kind(found: Found) -> list[str]:
    return [f"{found.universe.kind(label)} {label}" for label in found.labels]


def _location(found: Found) -> list[str]:
    places = [found.universe.place(label) for label in found.labels]
    return [f"{place}: {kind}" for place, kind in zip(places, _label_kind(found), strict=True)]


def _package(found: Found) -> list[str]:
    names = dict.fromkeys(package_of(label) for label in found.labels)
    library = package_of(RULES)
    return [RULES if name == library else f"//{name}" for name in sorted(names)]


def _build(found: Found) -> list[str]:
    from mlbuild.query.render import calls  # noqa: PLC0415 - start-up: it knows the language

    return calls(target for _, target in _targets(found) if target is not None)


def _minrank(found: Found) -> list[str]:
    return _ranked(found, longest=False)


def _maxrank(found: Found) -> list[str]:
    return _ranked(found, longest=True)


def _ranked(found: Found, *, longest: bool) -> list[str]:
    below = found.below()
    rank = ranks(found.labels, below.__getitem__, longest=longest)
    inner = sorted(found.labels, key=lambda label: (rank[label], order(label)))
    return [f"{rank[label]} {label}" for label in inner]


def _tree(found: Found) -> list[str]:
    return draw.tree(found.labels, found.below())


def _graph(found: Found) -> list[str]:
    return draw.dot(found.labels, found.below())


def _mermaid(found: Found) -> list[str]:
    return draw.mermaid(found.labels, found.below())


def _json(found: Found) -> list[str]:
    return [json.dumps(list(_objects(found)), ensure_ascii=False)]


def _ndjson(found: Found) -> list[str]:
    return [json.dumps(one, ensure_ascii=False) for one in _objects(found)]


def _objects(found: Found) -> Iterator[dict[str, Any]]:
    """Yield each label as JSON has it."""
    from mlbuild.query.render import described  # noqa: PLC0415 - start-up: it knows the language

    universe = found.universe
    for label, target in _targets(found):
        kind, deps = universe.kind(label), list(universe.names(label))
        if target is not None:
            yield {**described(target), "kind": kind, "deps": deps}
        else:
            plain = {"label": label, "kind": kind, "location": universe.place(label)}
            yield {**plain, "generator": deps[0]} if kind == GENERATED else plain


def _targets(found: Found) -> Iterator[tuple[str, Any]]:
    """Yield each label with its target, None for a file."""
    from mlbuild.query.declared import Declared  # noqa: PLC0415 - start-up

    declared = Declared(found.universe)
    for label in found.labels:
        yield label, declared.target(label)


FORMS: Mapping[str, Form] = {
    "label": Form(_label, "the labels"),
    "label_kind": Form(_label_kind, "kind and label: `train rule //models:lenet`"),
    "location": Form(_location, "place, kind and label"),
    "package": Form(_package, "the packages of the labels, each once"),
    "build": Form(_build, "the calls that declare the targets", entries=False),
    "minrank": Form(_minrank, "steps from the roots by the shortest way, and label"),
    "maxrank": Form(_maxrank, "steps from the roots by the longest way, and label"),
    "tree": Form(_tree, "what names what, drawn with lines", entries=False),
    "graph": Form(_graph, "a graph in the language of Graphviz", entries=False),
    "mermaid": Form(_mermaid, "a graph in the language of Mermaid", entries=False),
    "json": Form(_json, "one list of objects", entries=False),
    "ndjson": Form(_ndjson, "an object a line"),
}
