"""Patch: a plan made anew after an edit of some BUILD.ml that the rest of the graph cannot see.

Most edits are of this kind: a learning rate, a script, a command. Then only the targets of the
edited packages are analysed, and everything else of the kept plan stays as it is.
"""

import marshal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mlbuild.core.label import parse_label
from mlbuild.core.plan import Plan
from mlbuild.graph.analyze import Analyzed, Analyzer
from mlbuild.graph.conditions import Flags
from mlbuild.graph.package import Package
from mlbuild.graph.resolve import Resolver
from mlbuild.graph.shape import shape_of_package


def shapes(analyzed: Iterable[Analyzed], packages: Mapping[str, Package]) -> bytes:
    """Return what `patched` needs to know beside the plan; nothing where it cannot serve."""
    targets: dict[str, tuple[bytes, dict[str, str]]] = {}
    for one in analyzed:
        shape = one.shape
        if shape is None:
            return b""
        targets[str(one.target.label)] = shape, one.sources
    return marshal.dumps(
        (targets, {path: shape_of_package(package) for path, package in packages.items()})
    )


def patched(
    plan: Plan, known: bytes, packages: Sequence[str], *, resolver: Resolver, flags: Flags
) -> tuple[Plan, bytes] | None:
    """Return `plan` and its shapes after edits of the BUILD.ml of `packages`.

    None where the whole graph has to be looked at: some edit is seen outside of its package, or
    the order of the targets is no longer right. Raises InputError for a fault in the packages.
    """
    if not known:
        return None
    targets, seen = marshal.loads(known)  # noqa: S302 - ours
    edited = set(packages)
    for path in edited:
        if path not in seen or shape_of_package(resolver.package(path)) != seen[path]:
            return None
    labels = [
        label
        for label in (parse_label(text, package="") for text in plan.targets)
        if label.package in edited
    ]
    others = {
        label: shape
        for label, (shape, _) in targets.items()
        if label.partition(":")[0][2:] not in edited
    }
    analyzed = Analyzer(resolver, flags=flags, known=others).analyze(labels)
    fresh = {str(one.target.label): one for one in analyzed}
    if fresh.keys() != {str(label) for label in labels}:
        return None
    position = {label: number for number, label in enumerate(plan.targets)}
    for label, one in fresh.items():
        if one.shape != targets[label][0]:
            return None
        if any(position[dep] > position[label] for dep in one.deps):
            return None
        targets[label] = one.shape, one.sources
    actions = {action.id: action for action in plan.actions}
    sources: dict[str, str] = {}
    for _, own in targets.values():
        sources.update(own)
    changed = replace(
        plan,
        targets={
            label: fresh[label].planned() if label in fresh else one
            for label, one in plan.targets.items()
        },
        actions=tuple(
            action
            for label, one in plan.targets.items()
            for action in (
                fresh[label].actions if label in fresh else [actions[id_] for id_ in one.actions]
            )
        ),
        sources=sources,
    )
    return changed, marshal.dumps((targets, seen))
