"""`mlbuild describe`: what a target is, what it gave, and the packages of an environment."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mlbuild.cli.options import COLOR, CONFIG, DEFINE, EXECUTOR, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, Session, open_session
from mlbuild.core.event import Event
from mlbuild.core.result import Content, Result
from mlbuild.errors import InputError
from mlbuild.graph.package import Target
from mlbuild.invocation import Invocation, Known
from mlbuild.packages import Package, bill_of, packages_in, pins_in
from mlbuild.query.render import objects
from mlbuild.reading import Reading
from mlbuild.ui import open_reader
from mlbuild.ui.text import clean, seconds_text

USAGE = Usage(
    "describe",
    "LABEL",
    "Show a target: its rule, where it is declared, its attributes and outputs, its last result; "
    "of an environment the packages too. Nothing runs, unless `--build` says so.",
    (
        Option(("--build",), "Build the target first.", dest="build"),
        Option(
            ("--sbom",),
            "Print the bill of materials of an environment (CycloneDX 1.5, JSON) instead.",
            dest="sbom",
        ),
        EXECUTOR,
        CONFIG,
        DEFINE,
        JSON,
        COLOR,
        FOLDER,
    ),
    most=1,
)
_UNITS = ("B", "KiB", "MiB", "GiB")


def run(words: Words, screen: Screen) -> int:
    """Print the description on stdout."""
    if not words.rest:
        raise InputError("no target is named", hints=("for example `mlbuild describe //:env`",))
    session = open_session(words, screen)
    reader = open_reader(screen.err, screen.terminal)

    def emit(event: Event) -> None:
        reader(event)

    try:
        text = words.rest[0]
        if words.has("build"):
            from mlbuild.assembly import Request  # noqa: PLC0415 - start-up: only a build needs it

            built = Invocation(session.workspace, session.config, emit=emit).build(
                Request((text,), package=session.package)
            )
            if built.exit_code:
                return built.exit_code
        invocation = Invocation(session.workspace, session.config, emit=emit)
        with invocation.known(text, session.package) as known:
            found = _described(known, _target(session, known))
            packages = _packages(known)
    finally:
        reader.close()
    if words.has("sbom"):
        if packages is None:
            raise InputError(
                f"`{known.target.label}` "
                + ("is not built" if found["result"] is None else "is no environment of packages"),
                hints=("build it first, or add `--build`",) if found["result"] is None else (),
            )
        bill = bill_of(known.target.label, packages, content=found["result"]["tree"])
        screen.out.lines([json.dumps(bill, indent=2)])
        return 0
    if packages is not None:
        found["packages"] = [_object(one) for one in packages]
    if words.has("json"):
        screen.out.lines([json.dumps(found)])
    else:
        screen.out.lines([clean(line) for line in [*_lines(found), *_table(packages or ())]])
    return 0


def _target(session: Session, known: Known) -> Target:
    """Return the target as it is declared."""
    reading = Reading(session.workspace, session.config, say=lambda _: None)
    (target,) = reading.targets([known.target.label], "")
    return target


def _described(known: Known, target: Target) -> dict[str, Any]:
    """Return all that there is to say of a target but its packages, as plain values."""
    declared: dict[str, Any] = json.loads(objects([target])[0])[0]
    result = _main(known)
    last = None
    if known.target.actions:
        past = [
            record
            for id_ in known.target.actions
            for record in known.records.latest(known.root, id_, n=1, ran_only=False)
        ]
        if past:
            newest = max(past, key=lambda record: record.when)
            last = {
                "when": newest.when,
                "failed": newest.failed,
                "commit": newest.commit,
                "user": newest.user,
                "host": newest.host,
            }
    return {
        **declared,
        "doc": target.rule.doc.strip().partition("\n\n")[0],
        "attributes": {
            name: declared["attributes"][name]
            for name in target.given
            if name in declared["attributes"]
        },
        "outputs": list(known.target.outputs),
        "actions": list(known.target.actions),
        "last": last,
        "result": None if result is None else _result(result),
    }


def _main(known: Known) -> Result | None:
    """Return the result that has the outputs of the target, if it is built as it is now."""
    for action in known.plan.actions:
        made = {action.artifact(output.path) for output in action.outputs}
        if made & set(known.target.outputs):
            return known.results.get(action.id)
    return None


def _result(result: Result) -> dict[str, Any]:
    return {
        "tree": result.tree.hash,
        "outputs": {path: str(content) for path, content in result.outputs},
        "metrics": result.metrics,
        "seconds": result.seconds,
        "peak_memory": result.peak_memory,
        "executor": result.executor,
        "gpus": list(result.gpus),
        "hermetic": result.hermetic,
        "share": result.share,
        "resumed": result.resumed,
    }


def _packages(known: Known) -> list[Package] | None:
    """Return the packages of an environment that is built; None for anything else."""
    result = _main(known)
    if result is None:
        return None
    for path, content in result.outputs:
        place = known.store.place(result.tree, path) if content.kind == "t" else None
        found = packages_in(place, pins_in(_listing(known))) if place else []
        if found or path == "packages":
            return found
    return None


def _listing(known: Known) -> str:
    """Return the canonical lists from which an environment was made."""
    texts = []
    for action in known.plan.actions:
        result = known.results.get(action.id) if action.owner == known.target.label else None
        for path, content in result.outputs if result is not None else ():
            if path in {"requirements.txt", "sources.txt"}:
                texts.append(_text(known, content))
    return "".join(texts)


def _text(known: Known, content: Content) -> str:
    return (known.store.read(content.digest) or b"").decode("utf-8", "replace")


def _object(package: Package) -> dict[str, Any]:
    return {
        "name": package.name,
        "version": package.version,
        "license": package.license,
        "wheel": package.wheel,
        "size": package.size,
        "sha256": package.sha256,
    }


def _lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what a person reads of a target."""
    yield f"{found['label']}  ({found['rule']})"
    yield f"  {' '.join(found['doc'].split())}"
    yield f"  declared  {found['location']}"
    for macro in found["macros"]:
        yield f"            by macro {macro['name']}, called at {macro['called']}"
    for name, value in found["attributes"].items():
        yield f"  {name} = {json.dumps(value, ensure_ascii=False)}"
    for path in found["outputs"]:
        yield f"  output    {path}"
    if found["last"]:
        last = found["last"]
        state = "failed" if last["failed"] else "ran"
        commit = f", commit {last['commit'][:10]}" if last["commit"] else ""
        yield f"  last      {state} {last['when']} by {last['user']} on {last['host']}{commit}"
    result = found["result"]
    if result is None:
        yield "  result    none for what its sources are now; `--build` makes one"
        return
    notes = [result["executor"], seconds_text(result["seconds"])]
    notes += [] if result["hermetic"] else ["not hermetic"]
    notes += [] if result["share"] else ["never shared"]
    notes += ["resumed"] if result["resumed"] else []
    notes += result["gpus"]
    yield f"  result    blake3:{result['tree']} ({', '.join(notes)})"
    for name, value in (result["metrics"] or {}).items():
        yield f"  metric    {name} = {json.dumps(value)}"


def _table(packages: Sequence[Package]) -> Iterator[str]:
    """Yield the packages as a table."""
    if not packages:
        return
    head = ("package", "version", "licence", "wheel", "size")
    rows = [
        (one.name, one.version, one.license or "-", one.wheel, size_text(one.size))
        for one in packages
    ]
    yield ""
    yield from _columns([head, *rows])
    total = sum(one.size for one in packages)
    yield f"{len(packages)} packages, {size_text(total)}"


def _columns(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    table = list(rows)
    widths = [max(len(row[at]) for row in table) for at in range(len(table[0]))]
    for row in table:
        *texts, number = row
        cells = [text.ljust(width) for text, width in zip(texts, widths, strict=False)]
        yield "  ".join([*cells, number.rjust(widths[-1])])


def size_text(size: float) -> str:
    """Return a number of bytes as people write it."""
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - bytes
        size /= 1024
        unit += 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size:.0f} B"
