"""`mlbuild new`: add a target to a BUILD.ml, and a file to begin with."""

import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlbuild.cli.draft import Draft
from mlbuild.cli.init import shipped
from mlbuild.cli.options import COLOR, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.session import Screen, Session, open_session
from mlbuild.core.label import Label, parse_label
from mlbuild.errors import InputError, did_you_mean
from mlbuild.graph.glob import BUILD_FILE, SKIPPED
from mlbuild.graph.loader import Loader
from mlbuild.graph.package import Package
from mlbuild.ui.text import clean
from mlbuild.workspace import Workspace

USAGE = Usage(
    "new",
    "RULE NAME",
    "Add a target to the BUILD.ml of the current folder, which is made when there is none, and a "
    "file to begin with. It builds at once. RULE is `train`, `evaluate`, `process`, `dataset`, "
    "`genrule`, `notebook`, `sweep` or `python_environment`. NAME may be a label: `//models:mlp`.",
    (
        Option(("--package",), "Add it to the package in DIR instead.", "DIR", "package"),
        JSON,
        COLOR,
        FOLDER,
    ),
    most=2,
)
RULES = (
    *("train", "evaluate", "process", "dataset", "genrule", "notebook", "sweep"),
    "python_environment",
)
# How the file of a target is called: `{}` is its name. Scripts are called like their rule, so that
# none ever hides a module of the standard library that it imports itself.
FILES = {
    "train": ("train.py", "train_{}.py"),
    "evaluate": ("evaluate.py", "evaluate_{}.py"),
    "process": ("process.py", "process_{}.py"),
    "dataset": ("{}.csv",),
    "notebook": ("{}.ipynb",),
    "python_environment": ("requirements.lock", "{}.lock"),
    "sweep": ("train.py", "train_{}.py"),
}
STUBS = {"sweep": "train"}  # the rule whose file to begin with serves
NO_ENVIRONMENT = '# environment = "//:env",  # a python_environment; without it, no packages'
NO_MODEL = '# model = ":lenet",  # what to measure, a target of the rule train'


@dataclass(frozen=True, slots=True)
class Known:
    """What the workspace declares already, as far as a new target cares."""

    environments: tuple[Label, ...]
    trainings: tuple[Label, ...]  # in the package of the new target


def run(words: Words, screen: Screen) -> int:
    """Add the target; say on stdout where it stands and what comes next."""
    if len(words.rest) < 2:  # noqa: PLR2004 - rule and name
        raise InputError(
            "a new target needs a rule and a name", hints=("for example `mlbuild new train lenet`",)
        )
    rule, text = words.rest
    if rule not in RULES:
        raise InputError(
            f"`mlbuild new` knows no rule `{rule}`",
            hints=did_you_mean(rule, RULES)
            or (f"it knows {', '.join(f'`{one}`' for one in RULES)}",),
        )
    session = open_session(words, screen)
    label = parse_label(text, package=_package(session, words.text("package")))
    _check_place(session.workspace, label)
    loader = Loader(
        session.workspace, code=os.path.join(session.config.cache_dir, "code"), say=lambda _: None
    )
    _check_free(loader, label)
    draft = drafted(session.workspace, label, rule=rule, known=_known(loader, label))
    if taken := draft.conflicts():
        raise InputError(f"`{taken[0]}` is in the way", notes=("nothing was changed",))
    draft.write()
    file, written = _joined(label.package, BUILD_FILE), sorted(draft.made)
    command = f"mlbuild {shlex.quote(str(label))}"
    if words.has("json"):
        report = {"label": str(label), "file": file, "written": written, "next": command}
        screen.out.lines([json.dumps(report)])
        return 0
    screen.out.lines([clean(f"added {label} to {file}")])
    screen.out.lines([clean(f"wrote {path}") for path in written])
    if rule == "notebook":
        screen.err.lines(["its environment needs the packages `nbclient` and `ipykernel`"])
    screen.err.lines([clean(f"next: {command}")])
    return 0


def drafted(workspace: Workspace, label: Label, *, rule: str, known: Known) -> Draft:
    """Return what adding a target of `rule` writes."""
    if rule == "notebook" and len(known.environments) != 1:
        raise InputError(
            "a notebook needs a python_environment, and the workspace has "
            + (f"{len(known.environments)}" if known.environments else "none"),
            hints=("`mlbuild new python_environment env` makes one",)
            if not known.environments
            else ("write the target by hand, with the `environment` that you mean",),
        )
    stubs = shipped("new")
    script, begun = _file(workspace, label, rule)
    text = _filled(stubs[f"{rule}.ml"].decode(), label, script=script, known=known)
    build = _joined(label.package, BUILD_FILE)
    place = os.path.join(workspace.root, build)
    gap = "\n" if os.path.lexists(place) and os.path.getsize(place) else ""
    made: dict[str, bytes] = {}
    if script and not begun:
        stub = stubs[f"{STUBS.get(rule, rule)}{os.path.splitext(script)[1]}"].decode()
        source = script.replace(".lock", ".in")
        stub = _replaced(stub, {"NAME": label.name, "LOCK": script, "SOURCE": source})
        made[_joined(label.package, script)] = stub.encode()
    return Draft(workspace.root, made, {build: f"{gap}{text}".encode()})


def _filled(text: str, label: Label, *, script: str, known: Known) -> str:
    """Return the text of a target with everything in its place."""
    environment, model = NO_ENVIRONMENT, NO_MODEL
    if len(known.environments) == 1:
        environment = f'environment = "{_seen(known.environments[0], label.package)}",'
    if len(known.trainings) == 1:
        model = f'model = "{_seen(known.trainings[0], label.package)}",'
    words = {"NAME": label.name, "SCRIPT": script, "ENVIRONMENT": environment, "MODEL": model}
    return _replaced(text, words)


def _replaced(text: str, words: Mapping[str, str]) -> str:
    """Return `text` with each of `words` in the place of its key, all at once."""
    return re.sub(rf"\b({'|'.join(words)})\b", lambda found: words[found[0]], text)


def _file(workspace: Workspace, label: Label, rule: str) -> tuple[str, bool]:
    """Return the name of the file of a new target, "" for none, and whether it is there already."""
    names = [name.format(label.name) for name in FILES.get(rule, ())]
    folder = os.path.join(workspace.root, label.package)
    for name in names:
        if not os.path.lexists(os.path.join(folder, name)):
            return name, False
    return (names[-1], True) if names else ("", False)


def _package(session: Session, asked: str) -> str:
    """Return the package that the words mean: that of the folder `asked`, or of the current one."""
    if asked.startswith("//"):
        return asked[2:].rstrip("/")
    if not asked:
        return session.package
    return session.workspace.package_of(os.path.normpath(os.path.join(session.folder, asked)))


def _check_place(workspace: Workspace, label: Label) -> None:
    """Refuse a package where none can be, and a name that is no name of a file."""
    if "/" in label.name:
        raise InputError(
            f"`{label.name}` is not the name of a new target: it holds a `/`",
            hints=("name the package before a colon: `//models:lenet`",),
        )
    parent = workspace.root
    for part in label.package.split("/") if label.package else ():
        parent = os.path.join(parent, part)
        if part in SKIPPED or part.startswith("."):
            raise InputError(f"`{label.package}` cannot be a package: `{part}` is never looked at")
        if os.path.lexists(os.path.join(parent, "mlbuild.toml")):
            raise InputError(f"`{parent}` is a workspace of its own")


def _check_free(loader: Loader, label: Label) -> None:
    """Refuse a name that a target of the package, or one of its outputs, has."""
    if not loader.has_package(label.package):
        return
    package = loader.package(label.package)
    other = package.targets.get(label.name) or package.outputs.get(label.name)
    if other is not None:
        raise InputError(
            f"`{label}` is taken", span=other.span, hints=("give the new target another name",)
        )


def _known(loader: Loader, label: Label) -> Known:
    """Look through the workspace. Packages that are in error are passed over: they show later."""
    environments: list[Label] = []
    trainings: list[Label] = []
    for package in _packages(loader):
        for target in package.targets.values():
            if target.rule.name == "python_environment":
                environments.append(target.label)
            written_here = package.path == label.package and not target.stack  # by no macro
            if target.rule.name == "train" and written_here:
                trainings.append(target.label)
    return Known(tuple(environments), tuple(trainings))


def _packages(loader: Loader) -> Iterator[Package]:
    for path in loader.packages_below(""):
        try:
            yield loader.package(path)
        except InputError:
            continue


def _seen(label: Label, package: str) -> str:
    """Return a label as a BUILD.ml of `package` writes it."""
    return f":{label.name}" if label.package == package else str(label)


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
