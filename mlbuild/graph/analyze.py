"""Targets become actions: each rule's implementation is called once, after those it depends on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlbuild import lang
from mlbuild.core.action import OUT, Action
from mlbuild.core.label import Label
from mlbuild.core.plan import Plan, TargetPlan
from mlbuild.errors import InputError, MlbuildError, Span, did_you_mean
from mlbuild.graph.conditions import Condition, Flags, branch_of
from mlbuild.graph.context import Artifact, Context
from mlbuild.graph.fields import Fields
from mlbuild.graph.package import Target
from mlbuild.graph.resolve import Resolver, SourceFile, TargetOutput
from mlbuild.graph.select import DEFAULT, Choice
from mlbuild.graph.shape import Kind, outputs_of, seen, shape_of
from mlbuild.graph.site import RULES
from mlbuild.graph.visibility import EVERYONE, sees


@dataclass(slots=True)
class Analyzed:
    """What a target's implementation gave."""

    target: Target
    result: Fields  # what the struct holds that it returned
    files: tuple[Artifact, ...]
    actions: tuple[Action, ...]
    deps: tuple[str, ...]
    checks: tuple[str, ...]  # ids of Verify actions that stand before any use of its files
    outputs: tuple[tuple[str, Kind], ...]  # of all its actions
    metrics: str = ""
    sources: dict[str, str] = field(default_factory=dict)

    def planned(self) -> TargetPlan:
        """Return what the plan says of it."""
        return TargetPlan(
            str(self.target.label),
            self.target.rule.name,
            tuple(dict.fromkeys(file.path for file in self.files)),
            tuple(action.id for action in self.actions),
            self.deps,
            self.metrics,
            self.target.span,
            self.target.rule.public,
        )

    @property
    def shape(self) -> bytes | None:
        """What those that depend on it see, as plain data; None where it is more than that."""
        return shape_of(self.result, self.files, self.checks, self.outputs)


class Analyzer:
    """Turns requested labels into a Plan, where `flags` decide what selects mean.

    `known` has the shapes of targets, by label, that are not to be analysed themselves.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        flags: Flags | None = None,
        known: Mapping[str, bytes] | None = None,
    ) -> None:
        self._resolver = resolver
        self._flags: Flags = flags or {}
        self._known: Mapping[str, bytes] = known or {}
        self._done: dict[Label, Analyzed] = {}
        self._found: dict[tuple[str, str], Target | TargetOutput | SourceFile] = {}
        self._conditions: dict[Label, Condition] = {}

    @property
    def analyzed(self) -> Iterable[Analyzed]:
        """All targets that have been analysed or were known."""
        return self._done.values()

    def plan(self, requested: Iterable[Label]) -> Plan:
        """Return what building `requested` takes; raise InputError at the first fault."""
        wanted = list(dict.fromkeys(requested))
        analyzed = self.analyze(wanted)
        sources: dict[str, str] = {}
        for one in analyzed:
            sources.update(one.sources)
        return Plan(
            tuple(str(label) for label in wanted),
            {str(one.target.label): one.planned() for one in analyzed},
            tuple(action for one in analyzed for action in one.actions),
            sources,
        )

    def analyze(self, wanted: Iterable[Label]) -> list[Analyzed]:
        """Return what `wanted` and all that they depend on give, dependencies first.

        What is known already is left out. Raises InputError at the first fault.
        """
        order = self._order(wanted)
        for target in order:
            self._done[target.label] = self._analyze(target)
        return [self._done[target.label] for target in order]

    def _order(self, wanted: Iterable[Label]) -> list[Target]:
        """Return all needed targets, dependencies first; raise InputError for a cycle."""
        order: list[Target] = []
        state: dict[Label, bool] = {}  # True: done; False: on the path
        for root in wanted:
            path: list[tuple[Target, Any]] = []
            self._enter(self._resolver.target(root), path, state)
            while path:
                target, rest = path[-1]
                for attribute, text in rest:
                    found = self._find(target, text)
                    if not attribute.startswith("_"):
                        self._check_visible(target, text, found)
                    if isinstance(found, SourceFile):
                        continue
                    below = found.target if isinstance(found, TargetOutput) else found
                    if state.get(below.label):
                        continue
                    shape = self._known.get(str(below.label)) if self._known else None
                    if shape is not None:
                        self._done[below.label] = _of_shape(below, shape)
                        state[below.label] = True
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
        settled = self._settled(target) if target.selects else target
        path.append((settled, iter(settled.named())))

    def _find(self, target: Target, text: str) -> Target | TargetOutput | SourceFile:
        """Return what a label in an attribute of `target` names; errors point at the label."""
        asked = (target.label.package, text)
        known = self._found.get(asked)
        if known is not None:
            return known
        try:
            found = self._resolver.find(text, package=target.label.package, span=target.span)
        except InputError as error:
            if error.span is target.span:
                error.span = self._place(target, text)
                error.notes = (*error.notes, *(target.notes() if target.stack else ()))
            raise
        self._found[asked] = found
        return found

    def _place(self, target: Target, word: str, *, keyword: bool = False) -> Span:
        """Return the place of a label, or of an attribute's name, in the call of `target`."""
        frames = (*((name, span) for name, span in target.stack), ("the file", target.span))
        return self._resolver.site.place_of(word, frames, keyword=keyword)

    def _check_visible(
        self, target: Target, text: str, found: Target | TargetOutput | SourceFile
    ) -> None:
        """Raise InputError where the package of `target` may not name what `text` names."""
        package = target.label.package
        if isinstance(found, SourceFile):
            home, visibility = found.package, found.visibility
        else:
            owner = found.target if isinstance(found, TargetOutput) else found
            home, visibility = owner.label.package, owner.visibility
        if visibility is EVERYONE or home == package or text.startswith(RULES):
            return
        try:
            seen = sees(package, visibility, self._resolver.group)
        except InputError as error:
            if error.span is None and not isinstance(found, SourceFile):
                error.span = self._place(owner, "visibility", keyword=True)
            raise
        if seen:
            return
        here = f"//{package}:__pkg__"
        shown = ", ".join(f"`{one}`" for one in visibility) or "nobody"
        if isinstance(found, SourceFile):
            name = f"//{home}:{found.short}"
            what, where = f"file `{name}`", f"`{name}` is visible to {shown}"
            hint = (
                f'write `exports_files(["{found.short}"], visibility = ["{here}"])` in `//{home}`'
            )
        else:
            what = f"target `{owner.label}`"
            where = f"`{owner.label}` is declared at {owner.span} and visible to {shown}"
            hint = f'add `"{here}"` to its `visibility`'
        raise InputError(
            f"{what} is not visible from `{target.label}`",
            span=self._place(target, text),
            hints=(hint,),
            notes=(where, *(target.notes() if target.stack else ())),
        )

    def _settled(self, target: Target) -> Target:
        """Return `target` with the branch of each select that the flags mean."""
        values = dict(target.attributes)
        for name in target.selects:

            def chosen(choice: Choice, name: str = name) -> Any:
                what = f"attribute `{name}` of `{target.label}`"
                conditions = {
                    text: self._condition(target, text)
                    for text, _ in choice.branches
                    if text != DEFAULT
                }
                return branch_of(choice, conditions=conditions, flags=self._flags, what=what)

            try:
                values[name] = target.rule.settled(name, values[name].settled(chosen))
            except InputError as error:
                if error.span is None:
                    error.span = self._place(target, name, keyword=True)
                    error.notes = (*error.notes, *(target.notes() if target.stack else ()))
                raise
        return replace(target, attributes=values, selects=())

    def _condition(self, target: Target, text: str) -> Condition:
        """Return the condition that a branch of `target` is for."""
        found = self._find(target, text)
        self._check_visible(target, text, found)
        if not isinstance(found, Target):
            raise self._no_condition(target, text, "a file")
        known = self._conditions.get(found.label)
        if known is None:
            if found.selects or any(not one.startswith(RULES) for _, one in found.named()):
                raise self._no_condition(target, text, "a target that depends on others")
            wanted = self._analyze(found).result.values.get("condition")
            plain = lang.to_python(wanted)
            if not isinstance(plain, Mapping) or not all(
                type(one) is str for pair in plain.items() for one in pair
            ):
                raise self._no_condition(target, text, f"a target of rule `{found.rule.name}`")
            known = self._conditions[found.label] = Condition(str(found.label), plain)
        return known

    def _no_condition(self, target: Target, text: str, what: str) -> InputError:
        return InputError(
            f"`{text}` cannot be the condition of a select: it is {what}",
            span=self._place(target, text),
            hints=('a condition is `config_setting(name = "…", values = {"flag": "value"})`',),
        )

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
            error.notes = (*error.notes, *target.notes())
            if error.span is None:
                error.span = target.span
            raise
        given = _given(result, target)
        files = _artifacts(given, "files", target)
        metrics = _artifacts(given, "metrics", target)
        actions = context.actions(after=tuple(checks))
        for action in actions:
            made = {action.artifact(output.path) for output in action.outputs}
            sources.update({path: "file" for path in action.inputs if path.startswith("@rules/")})
            assert made or not action.outputs
        own = tuple(action.id for action in actions if not action.outputs)
        return Analyzed(
            target,
            given,
            files,
            actions,
            tuple(deps),
            (*checks, *own) if own else tuple(checks),
            tuple([(made.path, made.kind) for action in actions for made in action.outputs]),
            metrics[0].path if metrics else "",
            sources,
        )


def _output_of(done: Analyzed, path: str) -> Artifact:
    """Return the artifact that `//package:target/path` names."""
    folder = f"{OUT}/{done.target.label.package}/{done.target.label.name}".replace("//", "/")
    for name, kind in done.outputs:
        if name == path:
            return Artifact(f"{folder}/{path}", kind, path, str(done.target.label))
    names = [name for name, _ in done.outputs]
    raise InputError(
        f"target `{done.target.label}` has no output `{path}`",
        hints=did_you_mean(path, names) or (f"it has: {', '.join(sorted(names)) or 'none'}",),
    )


def _given(result: Any, target: Target) -> Fields:
    """Return what an implementation returned, as those that depend on the target see it."""
    if isinstance(result, Fields):
        return result  # of a dependency, which an alias passes on
    if not isinstance(result, lang.Struct):
        raise InputError(
            f"the implementation of rule `{target.rule.name}` must return a struct, "
            f"not a {lang.type_name(result)}",
            span=target.span,
            notes=target.notes(),
        )
    name = target.rule.name
    article = "an" if name[0] in "aeiou" else "a"
    return Fields(result.fields, lacks=f"`{target.label}`, {article} `{name}`, gives no")


def _artifacts(given: Fields, field_: str, target: Target) -> tuple[Artifact, ...]:
    """Return the artifacts in a field of what an implementation returned."""
    value = given.values.get(field_)
    found = [value] if isinstance(value, Artifact) else list(value) if value is not None else []
    if not all(isinstance(one, Artifact) for one in found):
        raise InputError(
            f"rule `{target.rule.name}` returned something that is no artifact in `{field_}`",
            span=target.span,
            notes=target.notes(),
        )
    return tuple(found)


def _of_shape(target: Target, shape: bytes) -> Analyzed:
    given, files, checks = seen(shape)
    return Analyzed(target, given, files, (), (), checks, outputs_of(shape))
