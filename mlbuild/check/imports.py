"""Imports: scripts that import workspace files which their targets do not have as inputs."""

import os
import posixpath
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mlbuild.check.problem import Problem, Problems
from mlbuild.check.python import Import
from mlbuild.check.scripts import Scripts
from mlbuild.core.action import OUT, Action, InputRef, Run, ToolRef
from mlbuild.core.label import Label
from mlbuild.errors import Span
from mlbuild.graph.analyze import Analyzed
from mlbuild.graph.package import Target

_FOREIGN = (f"{OUT}/", "@rules/")  # inputs that are no files of the workspace


@dataclass(slots=True)
class _Missing:
    """One import and the targets that lack the file."""

    file: str
    span: Span
    targets: list[Target] = field(default_factory=list)


def check_imports(
    analyzed: Iterable[Analyzed],
    scripts: Scripts,
    *,
    has_package: Callable[[str], bool],
    problems: Problems,
) -> None:
    """Look at the Python files that the commands of targets run, and at those that these import."""
    missing: dict[tuple[Span, str], _Missing] = {}
    for one in analyzed:
        for action in one.actions:
            entries = _entries(action)
            if entries:
                _check_action(entries, action, one, scripts, missing, problems)
    for found in missing.values():
        problems.add(_problem(found, has_package))


def _entries(action: Action) -> list[str]:
    """Return the Python files of the workspace that a command runs, or may run."""
    does = action.does
    if not isinstance(does, Run) or not any(map(_is_python, _parts(does))):
        return []
    own = [one for one in action.inputs if one.endswith(".py") and not one.startswith(_FOREIGN)]
    named = {part.path for part in _parts(does) if isinstance(part, InputRef)}
    return sorted(own, key=lambda path: path not in named)


def _parts(run: Run) -> list[object]:
    return [part for word in run.argv for part in word]


def _is_python(part: object) -> bool:
    if isinstance(part, ToolRef):
        return part.name.startswith("python")
    return isinstance(part, str) and "python" in part


def _check_action(
    entries: Sequence[str],
    action: Action,
    one: Analyzed,
    scripts: Scripts,
    missing: dict[tuple[Span, str], _Missing],
    problems: Problems,
) -> None:
    """Follow the imports of `entries` through the inputs of an action."""
    inputs = frozenset(action.inputs)
    roots = list(dict.fromkeys([os.path.dirname(entries[0]), ""]))
    pending = list(entries)
    seen = set(pending)
    while pending:
        path = pending.pop(0)
        script = scripts.script(path)
        if script.fault:
            place = Span(path, *script.fault_at)
            problems.add(_not_python(script.fault, place, str(one.target.label)))
        for wanted in script.imports:
            for file in _files(wanted, path, roots, scripts):
                if _is_input(file, inputs):
                    if file not in seen:
                        seen.add(file)
                        pending.append(file)
                elif not (file.endswith("/__init__.py") and scripts.is_empty(file)):
                    span = Span(path, *wanted.at)
                    known = missing.setdefault((span, file), _Missing(file, span))
                    if one.target not in known.targets:
                        known.targets.append(one.target)
                    break


def _files(wanted: Import, path: str, roots: Sequence[str], scripts: Scripts) -> list[str]:
    # In a sandbox, an undeclared file does not hide a module of the standard library.
    if not wanted.level and wanted.module.partition(".")[0] in sys.stdlib_module_names:
        return []
    return scripts.files_of(wanted, path, roots=roots)


def _is_input(path: str, inputs: frozenset[str]) -> bool:
    """Say whether a file, or a folder that holds it, is among `inputs`."""
    while path:
        if path in inputs:
            return True
        path = posixpath.dirname(path)
    return False


def _problem(one: _Missing, has_package: Callable[[str], bool]) -> Problem:
    target = one.targets[0]
    label = _label_of(one.file, target.label, has_package)
    others = len(one.targets) - 1
    more = f" and of {others} other target{'s' if others > 1 else ''}" if others else ""
    lists = [
        name for name in target.rule.public if target.rule.attributes[name].type == "label_list"
    ]
    attribute = "srcs" if "srcs" in lists else lists[0] if lists else ""
    how = f'add "{label}" to `{attribute}` of the target' if attribute else f'"{label}" names it'
    return Problem(
        "undeclared-import",
        f"`{one.file}` is imported, but not among the inputs of `{target.label}`{more}",
        one.span,
        hints=(how,) if label else ("give its folder a BUILD.ml, so that it has a label",),
        notes=target.notes(),
        target=str(target.label),
    )


def _not_python(fault: str, place: Span, target: str) -> Problem:
    version = ".".join(map(str, sys.version_info[:2]))
    return Problem(
        "python-syntax",
        f"Python {version} cannot read the script: {fault}",
        place,
        target=target,
    )


def _label_of(path: str, target: Label, has_package: Callable[[str], bool]) -> str:
    """Return the label of a workspace file as `target` writes it; "" where no package holds it."""
    folder = posixpath.dirname(path)
    while not has_package(folder):
        if not folder:
            return ""
        folder = posixpath.dirname(folder)
    name = path.removeprefix(f"{folder}/") if folder else path
    return name if folder == target.package else f"//{folder}:{name}"
