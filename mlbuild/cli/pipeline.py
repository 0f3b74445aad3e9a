"""Pipeline: the files by which GitHub or GitLab runs `mlbuild ci` on every change."""

import os

from mlbuild.cli.draft import Draft
from mlbuild.errors import InputError, did_you_mean
from mlbuild.history.commit import checkout_of

GITHUB, GITLAB = "github", "gitlab"
PLACES = {  # the folder of each template's files, and where in a repository they go
    GITHUB: {
        "workflow.yml": ".github/workflows/mlbuild.yml",
        "action.yml": ".github/actions/mlbuild/action.yml",
        "build.sh": ".github/actions/mlbuild/build.sh",
        "comment.sh": ".github/actions/mlbuild/comment.sh",
        "install.sh": ".github/actions/mlbuild/install.sh",
    },
    GITLAB: {"gitlab-ci.yml": ".gitlab-ci.yml"},
}
FOLDER = b'"FOLDER"'  # stands in a template for the workspace's folder in the repository


def check_kind(kind: str) -> None:
    """Refuse a kind of pipeline that there is not."""
    if kind not in PLACES:
        raise InputError(
            f"there is no CI template `{kind}`",
            hints=did_you_mean(kind, list(PLACES)) or ("there are `github` and `gitlab`",),
        )


def pipeline(kind: str, root: str) -> Draft:
    """Return the files for the workspace at `root`, an absolute folder, in its repository.

    A file that is there already with the same content is left out.
    """
    top = checkout_of(root) or root
    folder = os.path.relpath(root, top)
    quoted = '"' + folder.replace("\\", "\\\\").replace('"', '\\"') + '"'
    found: dict[str, bytes] = {}
    for name, place in PLACES[kind].items():
        content = _shipped(kind, name).replace(FOLDER, quoted.encode("utf-8", "surrogateescape"))
        if _content(os.path.join(top, place)) != content:
            found[place] = content
    return Draft(top, found)


def _shipped(kind: str, name: str) -> bytes:
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(package, "templates", "ci", kind, name), "rb") as file:
        return file.read()


def _content(place: str) -> bytes | None:
    try:
        with open(place, "rb") as file:
            return file.read()
    except OSError:
        return None
