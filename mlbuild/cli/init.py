"""`mlbuild init`: make a folder a workspace that builds at once."""

import json
import os
import shlex

from mlbuild.cli.draft import Draft
from mlbuild.cli.options import COLOR, FOLDER, JSON, Option, Usage, Words
from mlbuild.cli.pipeline import check_kind, pipeline
from mlbuild.cli.session import Screen, current_folder
from mlbuild.errors import InputError, did_you_mean
from mlbuild.ui.text import clean
from mlbuild.workspace import LOCAL, MARKER, STATE, Workspace

USAGE = Usage(
    "init",
    "[DIR]",
    "Make DIR, or the current folder, a workspace with data, a training and an evaluation that "
    "build at once. No file is overwritten: where one is in the way, nothing is written.",
    (
        Option(
            ("--template",),
            "What it trains: `digits` (NumPy alone; the default), `sklearn` or `torch`.",
            "NAME",
            "template",
        ),
        Option(
            ("--ci",),
            "Write what runs `mlbuild ci` on every change, too: `github` or `gitlab`. "
            "In a workspace that is there, only that.",
            "KIND",
            "ci",
        ),
        JSON,
        COLOR,
        FOLDER,
    ),
    most=1,
)
# The folders, beside this package, that a template is made of.
TEMPLATES = {
    "digits": ("mnist", "digits"),
    "sklearn": ("sklearn",),
    "torch": ("mnist", "torch"),
}
NAME = '"NAME"'  # stands in a template's settings for the workspace's name
OURS = {
    ".gitignore": ("mlbuild-out/", f"{STATE}/", LOCAL, "__pycache__/"),
    ".gitattributes": ("BUILD.ml linguist-language=Starlark",),
}
EDITOR = ".vscode/settings.json"
ASSOCIATIONS = {"files.associations": {"BUILD.ml": "starlark", "*.bzl": "starlark"}}
FEW = 8  # of many paths, how many are named
OPTIONAL = ("README.md", EDITOR)  # a workspace does without: one that is there stays


def run(words: Words, screen: Screen) -> int:
    """Write the workspace; say on stdout what was written and what comes next."""
    here = current_folder(words.text("folder"))
    asked = words.rest[0] if words.rest else ""
    template = words.text("template") or "digits"
    if template not in TEMPLATES:
        raise InputError(
            f"there is no template `{template}`",
            hints=did_you_mean(template, list(TEMPLATES))
            or (f"the templates are {', '.join(f'`{name}`' for name in TEMPLATES)}",),
        )
    root = os.path.realpath(os.path.join(here, asked))
    kind = words.text("ci")
    if kind:
        check_kind(kind)
        if not words.has("template") and (outer := _outer(root)) is not None:
            return _add_pipeline(kind, outer, words, screen)
    _check_free(root)
    kept = [path for path in OPTIONAL if os.path.lexists(os.path.join(root, path))]
    draft = drafted(root, template=template, without=kept)
    if kind:
        draft = pipeline(kind, root).joined(draft)
    if taken := draft.conflicts():
        raise InputError(
            f"{_listed(taken)} would be overwritten in `{draft.root}`",
            hints=("make a new folder: `mlbuild init FOLDER`",),
            notes=("nothing was changed",),
        )
    draft.write()
    command = "mlbuild //..." if root == here else f"cd {shlex.quote(asked)} && mlbuild //..."
    written = sorted({*draft.made, *draft.added})
    if words.has("json"):
        report = {"workspace": root, "template": template, "written": written, "kept": kept}
        screen.out.lines([json.dumps(report | {"next": command})])
        return 0
    screen.out.lines([f"made the workspace {clean(root)} from the template `{template}`:"])
    screen.out.lines([f"  {path}" for path in written])
    screen.err.lines([f"{path} was there already and stays as it is" for path in kept])
    screen.err.lines(["", f"next: {clean(command)}"])
    return 0


def _add_pipeline(kind: str, root: str, words: Words, screen: Screen) -> int:
    """Write what runs mlbuild on every change of the workspace at `root`."""
    draft = pipeline(kind, root)
    if taken := draft.conflicts():
        raise InputError(
            f"{_listed(taken)} would be overwritten in `{draft.root}`",
            hints=("move what is there away, or add a job that runs `mlbuild ci` to it",),
            notes=("nothing was changed",),
        )
    draft.write()
    written = sorted(draft.made)
    if words.has("json"):
        report = {"workspace": root, "template": "", "written": written, "kept": []}
        screen.out.lines([json.dumps(report | {"next": "mlbuild ci"})])
        return 0
    if not written:
        screen.err.lines([f"{clean(draft.root)} has all files of `--ci {kind}` already"])
        return 0
    screen.out.lines([f"added to {clean(draft.root)}:", *(f"  {path}" for path in written)])
    screen.err.lines(["", "next: commit them; `mlbuild ci` does the same on this machine"])
    return 0


def drafted(root: str, *, template: str, without: list[str]) -> Draft:
    """Return the files of a new workspace at `root`, all but those that it does `without`."""
    files = {
        path: content
        for part in TEMPLATES[template]
        for path, content in shipped(part).items()
        if path not in without
    }
    if EDITOR not in without:
        files[EDITOR] = json.dumps(ASSOCIATIONS, indent=2).encode() + b"\n"
    # The last file makes it a workspace: a power cut leaves none that is half there.
    settings = files.pop(MARKER).decode().replace(NAME, toml_text(os.path.basename(root)))
    files[MARKER] = settings.encode()
    added = {path: _missing(os.path.join(root, path), lines) for path, lines in OURS.items()}
    return Draft(root, files, {path: text for path, text in added.items() if text})


def shipped(part: str) -> dict[str, bytes]:
    """Return the files of a part of a template by path, sorted."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    top = os.path.join(package, "templates", part)
    found: dict[str, bytes] = {}
    for folder, below, names in os.walk(top):
        below[:] = [name for name in below if name != "__pycache__"]
        for name in names:
            place = os.path.join(folder, name)
            with open(place, "rb") as file:
                found[os.path.relpath(place, top)] = file.read()
    return dict(sorted(found.items()))


def toml_text(text: str) -> str:
    """Return `text` as TOML writes it, without what does not print."""
    shown = "".join(letter if letter.isprintable() else "_" for letter in text)
    return json.dumps(shown or "workspace", ensure_ascii=False)


def _check_free(root: str) -> None:
    """Refuse a folder that is no folder, or part of a workspace already."""
    if os.path.lexists(root) and not os.path.isdir(root):
        raise InputError(f"`{root}` is not a folder")
    outer = _outer(root)
    if outer is None:
        return
    where = "is a workspace already" if outer == root else f"lies in the workspace `{outer}`"
    raise InputError(
        f"`{root}` {where}",
        hints=(
            "`mlbuild new train NAME` adds a target to it, `mlbuild //...` builds it",
            "for a workspace of its own, give a folder outside: `mlbuild init FOLDER`",
        ),
    )


def _outer(root: str) -> str | None:
    """Return the workspace that a folder is or lies in, None where there is none."""
    try:
        return Workspace.find(root).root
    except InputError:
        return None


def _missing(place: str, lines: tuple[str, ...]) -> bytes:
    """Return those of `lines` that the file `place` lacks, as text to add to it."""
    try:
        with open(place, encoding="utf-8", errors="replace") as file:
            have = {line.strip().strip("/") for line in file}
    except OSError:
        have = set()
    return "".join(f"{line}\n" for line in lines if line.strip("/") not in have).encode()


def _listed(paths: list[str]) -> str:
    shown = ", ".join(f"`{path}`" for path in paths[:FEW])
    return f"{shown} and {len(paths) - FEW} more" if len(paths) > FEW else shown
