"""`mlbuild affected`: the targets whose definition differs between two revisions, and why."""

import json
from collections.abc import Iterator
from typing import Any

from mlbuild.cli.options import COLOR, CONFIG, DEFINE, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, open_session
from mlbuild.core.event import Warned
from mlbuild.errors import InputError
from mlbuild.git.affected import Affected, Changes, changes
from mlbuild.ui import open_reader
from mlbuild.ui.text import clean

USAGE = Usage(
    "affected",
    "[PATTERN…]",
    "Show the targets that differ between two revisions, and why; without patterns, of the whole "
    "workspace. Everything is read from git: no checkout, no data, nothing is built.",
    (
        Option(
            ("--base",),
            "The revision to compare with: a branch, a tag, a commit, or `A...B`, where the two "
            "branches part.",
            "REV",
            "base",
        ),
        Option(
            ("--head",),
            "The revision that counts, by default `HEAD`; `WORKTREE` is the files as they are.",
            "REV",
            "head",
        ),
        Option(("--label",), "Print labels only, one a line.", dest="label"),
        CONFIG,
        DEFINE,
        JSON,
        COLOR,
        FOLDER,
    ),
    most=None,
)
_SHORT = 12  # digits of a commit
_FEW = 3  # reasons that are shown of a target


def run(words: Words, screen: Screen) -> int:
    """Print what differs on stdout."""
    base, head = words.text("base"), words.text("head") or "HEAD"
    if not base:
        raise InputError(
            "no revision to compare with is named",
            hints=("for example `mlbuild affected --base origin/main...HEAD`",),
        )
    session = open_session(words, screen)
    reader = open_reader(screen.err, screen.terminal)
    warnings: list[str] = []

    def say(text: str) -> None:
        warnings.append(text)
        reader(Warned(text))

    try:
        found = changes(
            session.workspace,
            session.config,
            base=base,
            head=head,
            patterns=words.rest or ("//...",),
            package=session.package,
            say=say,
        )
    finally:
        reader.close()
    if words.has("json"):
        screen.out.lines([json.dumps(_object(found, base, head) | {"warnings": warnings})])
    elif words.has("label"):
        screen.out.lines([clean(one.label) for one in found.affected])
    else:
        screen.out.lines([clean(line) for line in _lines(found)])
        screen.err.lines([clean(_summary(found, base, head))])
    return 0


def _lines(found: Changes) -> Iterator[str]:
    """Yield a line a target: its label, and why it differs."""
    width = max((len(one.label) for one in found.affected), default=0)
    for one in found.affected:
        yield f"{one.label:<{width}}  {_why(one)}"
    for label in found.deleted:
        yield f"{label:<{width}}  deleted"


def _why(one: Affected) -> str:
    reasons = [
        f"{one.kind} {one.path}" if one.kind != one.path else one.path for one in one.reasons
    ]
    shown = ", ".join(reasons[:_FEW])
    if len(reasons) > _FEW:
        shown += f" and {len(reasons) - _FEW} more"
    if one.new:
        return f"new: {shown}"
    return shown if one.direct else f"through {', '.join(one.through[:_FEW])}: {shown}"


def _summary(found: Changes, base: str, head: str) -> str:
    count = len(found.affected)
    told = f"{count or 'no'} target{'' if count == 1 else 's'} of {_named(head, found.head)}"
    verb = "differs" if count == 1 else "differ"
    return f"{told} {verb} from {_named(base, found.base)}"


def _named(revision: str, commit: str) -> str:
    short = commit[:_SHORT]
    return f"{revision} ({short})" if short and not commit.startswith(revision) else revision


def _object(found: Changes, base: str, head: str) -> dict[str, Any]:
    return {
        "base": {"revision": base, "commit": found.base},
        "head": {"revision": head, "commit": found.head},
        "affected": [
            {
                "label": one.label,
                "rule": one.rule,
                "direct": one.direct,
                "new": one.new,
                "reasons": [{"kind": why.kind, "path": why.path} for why in one.reasons],
                "through": one.through,
            }
            for one in found.affected
        ],
        "deleted": found.deleted,
    }
