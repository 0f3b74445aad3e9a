"""Definition: a digest of all that a target's key depends on and that a revision decides.

It is a key whose inputs are stated rather than made: a source by what git has of it, what an
action makes by the definition of that action. So it can be told without data and without building,
and as long as it is the same, so is the key. What a host decides is left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlbuild.core import manifest as manifests
from mlbuild.core.action import Action, Run, Verify
from mlbuild.core.manifest import Fact, Manifest
from mlbuild.core.plan import Plan


@dataclass(frozen=True, slots=True)
class Definitions:
    """The definitions of all targets and actions of a plan, as hex digits."""

    targets: dict[str, str]  # by label
    actions: dict[str, str]  # by id


def definitions_of(plan: Plan, *, content: Callable[[str], str], salt: str) -> Definitions:
    """Return the definitions of a plan; `content` says what stands for the bytes of a source."""
    actions: dict[str, str] = {}
    made = {path: content(path) for path in plan.sources}  # what stands for each artifact's bytes
    pending = list(plan.actions)
    while pending:
        rest: list[Action] = []
        for action in pending:
            if not all(path in made for path in action.inputs):
                rest.append(action)  # a target may declare its actions in any order
                continue
            facts = own_facts(action, content=made.__getitem__, salt=salt)
            # What a check demands decides what its inputs may be, where nobody has their bytes.
            checks = [Fact(f"after[{id_}]", "d", actions[id_]) for id_ in action.after]
            key = actions[action.id] = manifests.key_of(manifests.encode([*facts, *checks]))
            for output in action.outputs:
                made[action.artifact(output.path)] = f"{key}/{output.path}"
        assert len(rest) < len(pending), rest
        pending = rest
    return Definitions(_targets(plan, actions, made), actions)


def _targets(plan: Plan, actions: Mapping[str, str], made: Mapping[str, str]) -> dict[str, str]:
    """Return the definition of each target: of what it does, and of what it hands on."""
    targets: dict[str, str] = {}
    for label, target in plan.targets.items():
        facts = tuple(Fact(f"action[{id_}]", "d", actions[id_]) for id_ in target.actions)
        facts += tuple(Fact(f"output[{path}]", "d", made[path]) for path in target.outputs)
        if not target.actions:  # it stands for others, and for their checks
            facts += tuple(Fact(f"dep[{dep}]", "d", targets[dep]) for dep in target.deps)
        targets[label] = manifests.key_of(manifests.encode(facts))
    return targets


def own_facts(action: Action, *, content: Callable[[str], str], salt: str) -> Manifest:
    """Return the facts of an action that a revision decides.

    `content` says what stands for the bytes of an input.
    """
    inputs = {path: content(path) for path in action.inputs}
    match action.does:
        case Verify(digest, base):
            stated = (Fact("digest", "s", digest), Fact("base", "s", base))
            return (*stated, *(Fact(f"input[{path}]", "d", one) for path, one in inputs.items()))
        case Run() as run:
            tools = {name: name for name in run.tools}
            return manifests.facts(action, inputs=inputs, tools=tools, platform="", salt=salt)
        case _:
            return manifests.facts(action, inputs=inputs, tools={}, platform="", salt=salt)
