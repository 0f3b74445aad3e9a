"""Targets become actions: each rule's implementation is called once, after those it depends on."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mlbuild import lang
from mlbuild.core.action import OUT, Action
from mlbuild.core.label import Label
from mlbuild.core.plan import Plan, TargetPlan
from mlbuild.errors import InputError, MlbuildError, Span, did_you_mean
from mlbuild.graph.context import Artifact, Context
from mlbuild.graph.package import Target, locate
from mlbuild.graph.resolve import Resolver, SourceFile, TargetOutput


@dataclass(slots=True)
class Analyzed:
    """What a target's implementation gave."""

    target: Target
    result: Any  # the struct that it returned
    files: tuple[Artifact, ...]
    actions: tuple[Action, ...]
    deps: tuple[str, ...]
    checks: tuple[str, ...]  # ids of Verify actions that stand before any use of its files
    metrics: str = ""
    sources: dict[str, str] = field(default_factory=dict)


class Analyzer:
    """Turns requested labels into a Plan."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._done: dict[Label, Analyzed] = {}

    def plan(self, requested: Iterable[Label]) -> Plan:
        """Return what building `requested` takes; raise InputError at the first fault."""
        wanted = list(dict.fromkeys(requested))
        order = self._order(wanted)
        for target in order:
            self._done[target.label] = self._analyze(target)
        analyzed = [self._done[target.label] for target in order]
        sources: dict[str, str] = {}
        for one in analyzed:
            sources.update(one.sources)
        return Plan(
            tuple(str(label) for label in wanted),
            {str(one.target.label): _target_plan(one) for one in analyzed},
            tuple(action for one in analyzed for action in one.actions),
            sources,
        )

    def _order(self, wanted: Iterable[Label]) -> list[Target]:
        """Return all needed targets, dependencies first; raise InputError for a cycle."""
        order: list[Target] = []
        state: dict[Label, bool] = {}  # True: done; False: on the path
        for root in wanted:
            path: list[tuple[Target, Any]] = []
            self._enter(self._resolver.target(root), path, state)
            while path:
                target, rest = path[-1]
                for text in rest:
                    found = self._find(target, text)
                    if isinstance(found, SourceFile):
                        continue
                    below = found.target if isinstance(found, TargetOutput) else found
                    if state.get(below.label):
                        continue
                    if below.label in state:
                        names = [str(one.label) for one, _ in path]
                        cycle = [*names[names.index(str(below.label)) :], str(below.label)]
                        hint = "a target cannot have the name of a file that it reads"
                        raise InputError(
                            "dependency cycle: " + " → ".join(cycle),
                            span=self._place(target, text),
                            hints=(hint,) if len(set(cycle)) == 1 else (),
                        )
                    self._enter(below, path, state)
                    break
                else:
                    path.pop()
                    state[target.label] = True
                    order.append(target)
        return order

    def _enter(
        self, target: Target, path: list[tuple[Target, Any]], state: dict[Label, bool]
    ) -> None:
        if target.label in state:
            return
        state[target.label] = False
        path.append((target, (text for text in target.named() if text)))

    def _find(self, target: Target, text: str) -> Target | TargetOutput | SourceFile:
        """Return what a label in an attribute of `target` names; errors point at the label."""
        try:
            return self._resolver.find(text, package=target.label.package, span=target.span)
        except InputError as error:
            if error.span is target.span:
                error.span = self._place(target, text)
            raise

    def _place(self, target: Target, text: str) -> Span:
        """Return the place of a label among the attributes of `target`."""
        return locate(self._resolver.source(target.label.package), target.span, text)

    def _analyze(self, target: Target) -> Analyzed:
        deps: dict[str, None] = {}
        checks: dict[str, None] = {}
        sources: dict[str, str] = {}

        def value_of(text: str) -> tuple[Any, tuple[Artifact, ...]]:
            """Return what an implementation sees for a label: the dependency's struct or a file."""
            found = self._find(target, text)
            if isinstance(found, SourceFile):
                artifact = Artifact(found.path, found.kind, found.short)
                sources[found.path] = found.kind
                return artifact, (artifact,)
            owner = found.target if isinstance(found, TargetOutput) else found
            done = self._done[owner.label]
            deps[str(owner.label)] = None
            checks.update(dict.fromkeys(done.checks))
            if isinstance(found, TargetOutput):
                try:
                    artifact = _output_of(done, found.path)
                except InputError as error:
                    error.span = self._place(target, text)
                    raise
                return artifact, (artifact,)
            return done.result, done.files

        context = Context(target, value_of)
        try:
            result = lang.call(target.rule.implementation, (context,), {})
        except MlbuildError as error:
            error.notes = (*error.notes, f"in target `{target.label}`, declared at {target.span}")
            if error.span is None:
                error.span = target.span
            raise
        files = _artifacts(result, "files", target)
        metrics = _artifacts(result, "metrics", target)
        actions = context.actions(after=tuple(checks))
        for action in actions:
            made = {action.artifact(output.path) for output in action.outputs}
            sources.update({path: "file" for path in action.inputs if path.startswith("@rules/")})
            assert made or not action.outputs
        own = tuple(action.id for action in actions if not action.outputs)
        return Analyzed(
            target,
            result,
            files,
            actions,
            tuple(deps),
            (*checks, *own) if own else tuple(checks),
            metrics[0].path if metrics else "",
            sources,
        )


def _output_of(done: Analyzed, path: str) -> Artifact:
    """Return the artifact that `//package:target/path` names."""
    folder = f"{OUT}/{done.target.label.package}/{done.target.label.name}".replace("//", "/")
    names: list[str] = []
    for action in done.actions:
        for output in action.outputs:
            names.append(output.path)
            if output.path == path:
                return Artifact(f"{folder}/{path}", output.kind, path, str(done.target.label))
    raise InputError(
        f"target `{done.target.label}` has no output `{path}`",
        hints=did_you_mean(path, names) or (f"it has: {', '.join(sorted(names)) or 'none'}",),
    )


def _artifacts(result: Any, field_: str, target: Target) -> tuple[Artifact, ...]:
    """Return the artifacts in a field of what an implementation returned."""
    if not isinstance(result, lang.Struct):
        raise InputError(
            f"the implementation of rule `{target.rule.name}` must return a struct, "
            f"not a {lang.type_name(result)}",
            span=target.span,
        )
    value = result.fields.get(field_)
    found = [value] if isinstance(value, Artifact) else list(value) if value is not None else []
    if not all(isinstance(one, Artifact) for one in found):
        raise InputError(
            f"rule `{target.rule.name}` returned something that is no artifact in `{field_}`",
            span=target.span,
        )
    return tuple(found)


def _target_plan(one: Analyzed) -> TargetPlan:
    return TargetPlan(
        str(one.target.label),
        one.target.rule.name,
        tuple(dict.fromkeys(file.path for file in one.files)),
        tuple(action.id for action in one.actions),
        one.deps,
        one.metrics,
        one.target.span,
        tuple(name for name in one.target.rule.attributes if not name.startswith("_")),
    )
