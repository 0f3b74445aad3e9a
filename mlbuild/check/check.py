"""Check: everything that is wrong below some patterns."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mlbuild.check.imports import check_imports
from mlbuild.check.problem import Problem, Problems
from mlbuild.check.scripts import Scripts
from mlbuild.check.survey import Survey
from mlbuild.check.tolerant import Tolerant
from mlbuild.core.label import Label, Pattern, parse_pattern
from mlbuild.graph.package import Unsure
from mlbuild.graph.resolve import Resolver
from mlbuild.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found: problems by their places, and how much it has looked at."""

    problems: tuple[Problem, ...]
    packages: int
    targets: int


def check(
    workspace: Workspace,
    patterns: Sequence[str],
    *,
    package: str,
    flags: Mapping[str, tuple[str, ...]],
    code: str,
    say: Callable[[str], None],
) -> Checked:
    """Read all that `patterns`, seen from `package`, select and need, and return what is wrong.

    `code` is the folder of compiled files; `say` hears what `print` says in files, and of patterns
    that select nothing. Raises InputError for a pattern that names nothing.
    """
    problems = Problems()
    loader = Tolerant(workspace, code=code, say=say, problems=problems)
    resolver = Resolver(workspace, loader)
    survey = Survey(resolver, flags=flags, problems=problems)
    # Where something is wrong, no target may be left to select; the wrong thing is the news.
    selected = _selected(resolver, patterns, package, lambda text: None if problems else say(text))
    analyzed = survey.analyze(selected)
    scripts = Scripts(workspace.root, state=os.path.join(workspace.state, "imports"))
    check_imports(analyzed, scripts, has_package=loader.has_package, problems=problems)
    scripts.keep()
    return Checked(problems.sorted(), len(loader.packages), survey.seen)


def _selected(
    resolver: Resolver, patterns: Sequence[str], package: str, say: Callable[[str], None]
) -> list[Label]:
    """Return the labels that patterns select, without those whose targets could not be declared."""
    parsed = [parse_pattern(text, package=package) for text in patterns]
    return resolver.select([one for one in parsed if not _is_told(resolver, one)], say)


def _is_told(resolver: Resolver, pattern: Pattern) -> bool:
    """Say whether `pattern` is the label of a target that could not be declared."""
    if pattern.name is None:
        return False
    try:
        resolver.target(Label(pattern.package, pattern.name))
    except Unsure:
        return True
    return False
