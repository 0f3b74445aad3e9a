"""Order: in which order the labels that a query found are shown."""

from collections.abc import Iterable, Mapping

from mlbuild.query.paths import Labels, topological
from mlbuild.query.record import order
from mlbuild.query.syntax import Call, Expression
from mlbuild.query.universe import Universe

ORDERS: Mapping[str, str] = {
    "auto": "by label; of `somepath`, along the path",
    "no": "as they were found",
    "deps": "each before what it depends on",
    "full": "each before what it depends on, wholly determined by the labels",
}


def ordered(labels: Labels, how: str, *, query: Expression, universe: Universe) -> list[str]:
    """Return the labels that `query` found in one of `ORDERS`."""
    if how == "no" or (how == "auto" and _is_path(query)):
        return list(labels)
    alphabetical = sorted(labels, key=order)
    if how == "auto":
        return alphabetical

    def below(label: str) -> Iterable[str]:
        needs = universe.below(label)
        return sorted(needs, key=order) if how == "full" else needs

    return topological(alphabetical, lambda label: list(below(label)))


def _is_path(query: Expression) -> bool:
    return isinstance(query, Call) and query.name.text == "somepath"
