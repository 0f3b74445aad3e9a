"""Plan: the actions that the requested targets need, in topological order."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mlbuild.core.action import (
    Action,
    InputRef,
    Output,
    OutputRef,
    Run,
    ToolRef,
    Verify,
    Word,
    Write,
)
from mlbuild.errors import Span


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What a target of the plan amounts to."""

    label: str
    rule: str
    outputs: tuple[str, ...]  # artifact paths that a request for it delivers
    actions: tuple[str, ...]  # ids of the actions that it declared itself
    deps: tuple[str, ...]  # labels of the targets that it names
    metrics: str = ""  # artifact path of its metrics
    span: Span | None = None
    attributes: tuple[str, ...] = ()  # names of its rule's attributes, for hints


@dataclass(frozen=True, slots=True)
class Plan:
    """The actions needed, each after those that make its inputs."""

    requested: tuple[str, ...]  # labels, in the order of the request
    targets: Mapping[str, TargetPlan]  # requested ones and their dependencies
    actions: tuple[Action, ...]
    sources: Mapping[str, str] = field(
        default_factory=dict
    )  # source artifact path -> "file" | "tree"

    def producers(self) -> dict[str, Action]:
        """Return who makes each output artifact."""
        return {
            action.artifact(output.path): action
            for action in self.actions
            for output in action.outputs
        }

    def before(self, id_: str) -> "Plan":
        """Return the part of this plan that must be done before the action `id_` can be."""
        producers, actions = self.producers(), {action.id: action for action in self.actions}
        wanted: set[str] = set()
        pending = [actions[id_]]
        while pending:
            action = pending.pop()
            makers = [producers[path].id for path in action.inputs if path in producers]
            new = {*makers, *(one for one in action.after if one in actions)} - wanted
            wanted |= new
            pending += [actions[one] for one in new]
        kept = tuple(action for action in self.actions if action.id in wanted)
        return Plan((), self.targets, kept, self.sources)


def pack(plan: Plan) -> tuple[Any, ...]:
    """Return `plan` as nested tuples, lists and dicts of plain values, for `marshal`."""
    return (
        plan.requested,
        [
            (
                one.label,
                one.rule,
                one.outputs,
                one.actions,
                one.deps,
                one.metrics,
                (one.span.path, one.span.line, one.span.column, one.span.length)
                if one.span
                else None,
                one.attributes,
            )
            for one in plan.targets.values()
        ],
        [
            (
                one.id,
                one.owner,
                one.mnemonic,
                _packed(one.does),
                one.inputs,
                [(output.path, output.kind, output.name) for output in one.outputs],
                one.after,
                one.folder,
            )
            for one in plan.actions
        ],
        dict(plan.sources),
    )


def unpack(packed: tuple[Any, ...]) -> Plan:
    """Return the Plan that `pack` was given."""
    requested, targets, actions, sources = packed
    return Plan(
        requested,
        {one[0]: _target(*one) for one in targets},
        tuple(_action(*one) for one in actions),
        sources,
    )


def _target(*one: Any) -> TargetPlan:
    label, rule, outputs, actions, deps, metrics, span, attributes = one
    place = Span(*span) if span else None
    return TargetPlan(label, rule, outputs, actions, deps, metrics, place, attributes)


def _action(*one: Any) -> Action:
    id_, owner, mnemonic, does, inputs, outputs, after, folder = one
    made = tuple([Output(*output) for output in outputs])
    return Action(id_, owner, mnemonic, _unpacked(does), inputs, made, after, folder)


def _packed(does: Run | Write | Verify) -> tuple[Any, ...]:
    match does:
        case Write(content, executable):
            return ("write", content, executable)
        case Verify(digest, base):
            return ("verify", digest, base)
        case Run() as run:
            values = [getattr(run, name) for name in _RUN]
            values[0] = [_packed_word(word) for word in run.argv]
            values[1] = [(name, _packed_word(word)) for name, word in run.env]
            values[2] = dict(run.params)
            return ("run", *values)


def _unpacked(packed: tuple[Any, ...]) -> Run | Write | Verify:
    kind, *values = packed
    if kind == "write":
        return Write(*values)
    if kind == "verify":
        return Verify(*values)
    values[0] = tuple(
        [(word,) if type(word) is str else _unpacked_word(word) for word in values[0]]
    )
    values[1] = tuple([(name, _unpacked_word(word)) for name, word in values[1]])
    return Run(*values)


def _packed_word(word: Word) -> str | tuple[Any, ...]:
    if len(word) == 1 and isinstance(word[0], str):  # so are most
        return word[0]
    return tuple(
        part if isinstance(part, str) else (_LETTER[type(part)], *_operand(part)) for part in word
    )


def _operand(part: InputRef | OutputRef | ToolRef) -> tuple[str]:
    return (part.name,) if isinstance(part, ToolRef) else (part.path,)


def _unpacked_word(packed: str | tuple[Any, ...]) -> Word:
    if type(packed) is str:
        return (packed,)
    return tuple([part if type(part) is str else _REFERENCE[part[0]](part[1]) for part in packed])


_RUN = tuple(one.name for one in fields(Run))
_LETTER: dict[type, str] = {InputRef: "i", OutputRef: "o", ToolRef: "t"}
_REFERENCE: dict[str, Any] = {"i": InputRef, "o": OutputRef, "t": ToolRef}
