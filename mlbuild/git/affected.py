"""Affected: the targets whose definition differs between two revisions, and why.

Everything comes from git objects: no checkout, no data, nothing is built.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mlbuild.config import Config
from mlbuild.core.label import Label, parse_label
from mlbuild.errors import InputError
from mlbuild.git.objects import Objects
from mlbuild.git.reasons import Reason, Reasons
from mlbuild.git.repository import Repository
from mlbuild.git.revision import Revision, Source
from mlbuild.git.snapshot import snapshot
from mlbuild.git.tree import Difference, Trees
from mlbuild.graph.glob import BUILD_FILE
from mlbuild.reading import Reading
from mlbuild.workspace import Workspace

__all__ = ["WORKTREE", "Affected", "Changes", "Reason", "affected", "changes"]

WORKTREE = "WORKTREE"  # as a head: the files as they are, committed or not
_MOST = 20  # reasons that a target takes over from those it is affected through


@dataclass(frozen=True, slots=True)
class Affected:
    """A target whose definition differs. One that is new is affected too.

    `reasons` are its own where it is direct; else those of the targets that it is affected through.
    """

    label: str
    reasons: tuple[Reason, ...]
    direct: bool  # whether something of its own differs, and not only what it depends on
    new: bool = False  # whether there is no such target in the base
    through: tuple[str, ...] = ()  # labels of the affected targets that it names
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two revisions."""

    base: str  # the commit; "" where there is none
    head: str  # the commit; the tree of WORKTREE
    affected: tuple[Affected, ...]  # dependencies first
    deleted: tuple[str, ...]  # labels that the base has and the head has not


def affected(
    workspace: Workspace,
    config: Config,
    *,
    base: str,
    head: str = "HEAD",
    patterns: Sequence[str] = ("//...",),
    package: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Affected, ...]:
    """Return the targets that `patterns` select in `head` and whose definition differs in `base`.

    Dependencies come before those that depend on them. `base` is a revision, or `A...B`: the
    merge base of both. Where `base` cannot be read as a workspace, all targets count as new, and
    `say` hears of it. Raises InputError for revisions that are not there and for faults in `head`.
    """
    return changes(
        workspace, config, base=base, head=head, patterns=patterns, package=package, say=say
    ).affected


def changes(
    workspace: Workspace,
    config: Config,
    *,
    base: str,
    head: str = "HEAD",
    patterns: Sequence[str] = ("//...",),
    package: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> Changes:
    """Return what `affected` does, with what was deleted and the commits that were compared."""
    repository = Repository.holding(workspace.root, environ=config.environ).with_modules()
    before = _base(repository, base)
    with _head(repository, head) as (seen, after), Objects(seen) as objects:
        trees = Trees(objects)
        source = Source(workspace, config, trees, repository.prefix, say)
        roots = [trees.root(commit, repository.prefix) for commit in (before, after)]
        differences = tuple(trees.differences(*roots))
        if not differences:
            return Changes(before, after, (), ())
        new = source.read(head, after, lambda reading: reading.labels(patterns, package))
        old = _old(source, base, before, new, differences, patterns=patterns, package=package)
        if old is None:
            return Changes(before, after, _all(new, differences), ())
        return Changes(
            before,
            after,
            _differing(old, new, differences),
            _deleted(old, new),
        )


@contextmanager
def _head(repository: Repository, head: str) -> Iterator[tuple[Repository, str]]:
    """Yield a repository in which the head can be read, and its id."""
    if head != WORKTREE:
        yield repository, repository.commit(head)
        return
    with snapshot(repository) as found:
        yield found


def _base(repository: Repository, base: str) -> str:
    """Return the id of the commit to compare with."""
    one, dots, other = base.partition("...")
    if dots:
        return repository.merge_base(one or "HEAD", other or "HEAD")
    if ".." in base:
        one, _, other = base.partition("..")
        raise InputError(
            f"`{base}` is a range, and `--base` takes a revision",
            hints=(f"write `--base {one or 'HEAD'} --head {other or 'HEAD'}`",),
        )
    return repository.commit(base)


def _old(
    source: Source,
    name: str,
    commit: str,
    new: Revision,
    differences: Sequence[Difference],
    *,
    patterns: Sequence[str],
    package: str,
) -> Revision | None:
    """Return the base, None where it cannot be read."""
    labels = [parse_label(text, package="") for text in new.plan.targets]

    def chosen(reading: Reading) -> list[Label]:
        there = [label for label in labels if reading.declared(label) is not None]
        return [*reading.known(patterns, package), *there]

    try:
        if not commit:
            return None
        return source.like(new, name, commit, differences) or source.read(name, commit, chosen)
    except InputError as error:
        place = f" ({error.span})" if error.span is not None else ""
        source.say(f"`{name}` cannot be read, so all targets count as new: {error.message}{place}")
        return None


def _differing(
    old: Revision, new: Revision, differences: Sequence[Difference]
) -> tuple[Affected, ...]:
    """Return the requested targets of `new` whose definitions differ, dependencies first."""
    reasons = Reasons(old, new, differences)
    found: dict[str, Affected] = {}
    for label, planned in new.plan.targets.items():
        was = old.definitions.targets.get(label)
        if was == new.definitions.targets[label]:
            continue
        through = tuple(dep for dep in planned.deps if dep in found)
        own = reasons.own(label)
        if not own and not through:
            own = reasons.any(label)
        found[label] = Affected(
            label,
            tuple(own) or _taken_over(found, through),
            direct=bool(own),
            new=was is None,
            through=through,
            rule=planned.rule,
        )
    requested = set(new.plan.requested)
    return tuple(one for one in found.values() if one.label in requested)


def _taken_over(found: Mapping[str, Affected], through: Sequence[str]) -> tuple[Reason, ...]:
    """Return the first reasons of the targets that one is affected through."""
    reasons = dict.fromkeys(reason for label in through for reason in found[label].reasons)
    return tuple(reasons)[:_MOST]


def _all(new: Revision, differences: Sequence[Difference]) -> tuple[Affected, ...]:
    """Return every requested target, as one that no readable base had."""
    changed = {one.path for one in differences}
    found: list[Affected] = []
    for label in new.plan.requested:
        package = label[2:].partition(":")[0]
        file = f"{package}/{BUILD_FILE}" if package else BUILD_FILE
        path = file if file in changed else ""
        rule = new.plan.targets[label].rule
        found.append(
            Affected(label, (Reason("BUILD.ml", path or file),), direct=True, new=True, rule=rule)
        )
    return tuple(found)


def _deleted(old: Revision, new: Revision) -> tuple[str, ...]:
    """Return the requested labels of `old` that `new` does not declare."""
    return tuple(
        label
        for label in old.plan.requested
        if new.reading.declared(parse_label(label, package="")) is None
    )
