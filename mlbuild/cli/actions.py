"""`mlbuild actions`: what a target runs: command, variables, inputs with digests, and the key."""

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, assert_never

from mlbuild.cli.options import COLOR, CONFIG, DEFINE, EXECUTOR, FOLDER, JSON, Usage, Words
from mlbuild.cli.session import Screen, open_session
from mlbuild.core.action import Action, InputRef, OutputRef, Run, ToolRef, Verify, Word, Write
from mlbuild.errors import InputError
from mlbuild.invocation import Invocation, Known
from mlbuild.ui import open_reader
from mlbuild.ui.text import clean

USAGE = Usage(
    "actions",
    "LABEL",
    "Show the actions of a target: command, variables, parameters, inputs with their digests, "
    "outputs, and the key of the result. Nothing runs.",
    (EXECUTOR, CONFIG, DEFINE, JSON, COLOR, FOLDER),
    most=1,
)


def run(words: Words, screen: Screen) -> int:
    """Print the actions on stdout, in the order in which they run."""
    if not words.rest:
        raise InputError(
            "no target is named", hints=("for example `mlbuild actions //models:lenet`",)
        )
    session = open_session(words, screen)
    reader = open_reader(screen.err, screen.terminal)
    try:
        invocation = Invocation(session.workspace, session.config, emit=reader)
        with invocation.known(words.rest[0], session.package) as known:
            found = [_described(action, known) for action in _own(known)]
            label = known.target.label
    finally:
        reader.close()
    if words.has("json"):
        screen.out.lines([json.dumps(found, ensure_ascii=False)])
    elif found:
        screen.out.lines([clean(line) for line in _lines(found)])
    else:
        screen.err.lines([f"`{clean(label)}` runs nothing of its own"])
    return 0


def _own(known: Known) -> list[Action]:
    """Return the actions that the target declared itself."""
    wanted = set(known.target.actions)
    return [action for action in known.plan.actions if action.id in wanted]


def _described(action: Action, known: Known) -> dict[str, Any]:
    """Return all that there is to say of an action, as plain values."""
    outcome = known.outcome
    makers = {path: one.owner for path, one in known.plan.producers().items()}
    return {
        "id": action.id,
        "label": action.owner,
        "mnemonic": action.mnemonic,
        **_does(action),
        "inputs": [
            {
                "path": path,
                "digest": str(outcome.contents[path]) if path in outcome.contents else None,
                "from": makers.get(path),
            }
            for path in action.inputs
        ],
        "outputs": [action.artifact(output.path) for output in action.outputs],
        "key": outcome.keys.get(action.id),
        "state": _state(action, known),
    }


def _state(action: Action, known: Known) -> str:
    if isinstance(action.does, Verify):
        return "checked each time"
    return "cached" if action.id in known.outcome.results else "would run"


def _does(action: Action) -> dict[str, Any]:
    """Return what an action does."""
    match action.does:
        case Run() as does:
            return {
                "kind": "run",
                "argv": [_word(word, action) for word in does.argv],
                "env": {name: _word(word, action) for name, word in sorted(does.env)},
                "params": dict(does.params),
                "tools": list(does.tools),
                "seed": does.seed,
                "cpus": does.cpus,
                "memory": does.memory,
                "gpus": does.gpus,
                "disk": does.disk,
                "spot": does.spot,
                "timeout": does.timeout,
                "network": does.network,
            }
        case Write(content, executable):
            return {"kind": "write", "content": content, "executable": executable}
        case Verify(digest, base):
            return {"kind": "verify", "digest": digest, "base": base}
        case _:
            assert_never(action.does)


def _word(word: Word, action: Action) -> str:
    """Return a word as the command sees it, host tools by their names."""
    return "".join(_part(part, action) for part in word)


def _part(part: str | InputRef | OutputRef | ToolRef, action: Action) -> str:
    match part:
        case InputRef(path):
            return path
        case OutputRef(path):
            return action.artifact(path)
        case ToolRef(name):
            return name
        case _:
            return part


def _lines(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield what a person reads of actions."""
    for index, one in enumerate(found):
        if index:
            yield ""
        yield f"{one['id']}  ({one['mnemonic']}, {one['state']})"
        key = one["key"]
        if key:
            yield f"  key      {key}"
        elif one["kind"] != "verify":
            makers = sorted({each["from"] for each in one["inputs"] if each["digest"] is None})
            yield f"  key      not known before {', '.join(filter(None, makers))} has run"
        yield from _body(one)
        for each in one["inputs"]:
            yield f"  input    {each['path']}"
            yield f"           {each['digest'] or 'made by ' + str(each['from'])}"
        for path in one["outputs"]:
            yield f"  output   {path}"


def _body(one: dict[str, Any]) -> Iterator[str]:
    if one["kind"] == "write":
        yield f"  content  {json.dumps(one['content'], ensure_ascii=False)}"
    elif one["kind"] == "verify":
        yield f"  holds    {one['digest']}"
    else:
        yield f"  argv     {' '.join(shlex.quote(word) for word in one['argv'])}"
        for name, value in one["env"].items():
            yield f"  env      {name}={shlex.quote(value)}"
        for name, value in one["params"].items():
            yield f"  param    {name} = {json.dumps(value, ensure_ascii=False)}"
        for name in ("seed", "cpus", "memory", "gpus", "disk", "spot", "timeout", "network"):
            if one[name] or (name == "seed" and one[name] is not None):
                yield f"  {name:<7}  {json.dumps(one[name])}"
