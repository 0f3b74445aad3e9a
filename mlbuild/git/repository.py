"""Repository: the git repository that holds a folder. Every run of git goes through here.

Nothing here changes a repository: no checkout, no lock, no reference is written.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlbuild.errors import HostError, InputError, did_you_mean, near
from mlbuild.history.commit import LOCAL

ALTERNATES = "GIT_ALTERNATE_OBJECT_DIRECTORIES"  # more folders of objects
_LANGUAGE = frozenset({"LANG", "LANGUAGE"})
_OPTIONS = (
    "--no-pager",
    "--no-optional-locks",
    "--literal-pathspecs",
    *("-c", "core.quotePath=false"),
    *("-c", "core.fsmonitor=false"),  # it would start a program that the checkout names
    *("-c", "advice.objectNameWarning=false"),
)
_ZERO = re.compile("0{40}(0{24})?")  # what git gives hooks for a branch that was not there
_HEX = re.compile("[0-9a-f]{7,64}")
DEEPEN = (
    "`git fetch --unshallow` brings all of the history, `git fetch --deepen=100` more of it",
    "in GitHub Actions, give actions/checkout `fetch-depth: 0`; in GitLab CI, set `GIT_DEPTH: 0`",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one run of git gave."""

    code: int
    out: bytes
    said: str  # on stderr, in English

    def line(self) -> str:
        """Return the output without the end of its line."""
        return os.fsdecode(self.out.removesuffix(b"\n"))


def git_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that git is run with: in English, as if no hook had started us."""
    kept = {
        name: value
        for name, value in environ.items()
        if name not in LOCAL and name not in _LANGUAGE and not name.startswith("LC_")
    }
    # UTF-8 is nothing that git cares for; English is what `said` is read in.
    return kept | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


def git_command(folder: str, words: Sequence[str]) -> list[str]:
    """Return the command that runs `git WORDS` in an absolute folder."""
    return ["git", *_OPTIONS, "-C", folder, *words]


def run_git(
    folder: str,
    *words: str,
    environ: Mapping[str, str],
    extra: Mapping[str, str] | None = None,
    given: bytes | None = None,
) -> Answer:
    """Run git in an absolute folder to its end; `given` is its input, `extra` more variables.

    Raises HostError where there is no git.
    """
    try:
        done = subprocess.run(
            git_command(folder, words),
            env=git_environment(environ) | dict(extra or {}),
            stdin=subprocess.DEVNULL if given is None else None,
            input=given,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise no_git(error) from error
    return Answer(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace").strip())


def no_git(error: OSError) -> HostError:
    """Return the error that says that git cannot be started."""
    if isinstance(error, FileNotFoundError):
        return HostError(
            "git is not installed, or not on the PATH",
            hints=("install it, for example with `apt-get install git`",),
        )
    return HostError(f"git cannot be run: {error.strerror}")


class Repository:
    """The repository that holds `folder`, which lies at `prefix` in its trees."""

    def __init__(
        self,
        folder: str,
        prefix: str,
        *,
        shallow: bool,
        environ: Mapping[str, str],
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.prefix = prefix  # "" or "a/b"
        self.shallow = shallow  # whether its history has been cut off
        self._environ = environ
        self._extra = dict(extra or {})

    @classmethod
    def holding(cls, folder: str, *, environ: Mapping[str, str]) -> "Repository":
        """Return the repository that holds an absolute folder.

        Raises InputError where none does, HostError where git may not or cannot look at it.
        """
        words = ("rev-parse", "--is-shallow-repository", "--show-prefix")
        answer = run_git(folder, *words, environ=environ)
        if answer.code:
            raise _refused(folder, answer.said)
        shallow, _, prefix = os.fsdecode(answer.out).partition("\n")
        return cls(
            folder,
            prefix.removesuffix("\n").rstrip("/"),
            shallow=shallow == "true",
            environ=environ,
        )

    def run(self, *words: str, given: bytes | None = None) -> Answer:
        """Run git in the folder."""
        environ, extra = self._environ, self._extra
        return run_git(self.folder, *words, environ=environ, extra=extra, given=given)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that git is run with."""
        return git_environment(self._environ) | self._extra

    def extended(self, extra: Mapping[str, str]) -> "Repository":
        """Return the same repository, for which git is run with more variables."""
        return Repository(
            self.folder,
            self.prefix,
            shallow=self.shallow,
            environ=self._environ,
            extra=self._extra | dict(extra),
        )

    def with_modules(self) -> "Repository":
        """Return the repository with the objects of those submodules that are on this machine."""
        found = [place for place in _modules(self.place("modules")) if ":" not in place]
        return self.extended(self.alternates(*found)) if found else self

    def alternates(self, *folders: str) -> dict[str, str]:
        """Return the variable that has git look for objects in more folders, not only its own."""
        known = self._extra.get(ALTERNATES)
        return {ALTERNATES: ":".join([*([known] if known else []), *folders])}

    def place(self, name: str) -> str:
        """Return the absolute path of one of git's own files or folders, such as `hooks`."""
        return os.path.join(self.folder, self.checked("rev-parse", "--git-path", name).line())

    def checked(self, *words: str) -> Answer:
        """Run git in the folder; raise HostError where it fails."""
        answer = self.run(*words)
        if answer.code:
            raise HostError(f"`git {words[0]}` failed: {last_line(answer.said)}")
        return answer

    def commit(self, revision: str) -> str:
        """Return the id of the commit that `revision` names, or of a tree; "" for an id of zeros.

        Raises InputError for what names neither.
        """
        if _ZERO.fullmatch(revision):
            return ""
        if revision and not revision.startswith("-") and "\0" not in revision:
            for kind in ("commit", "tree"):
                words = ("rev-parse", "--verify", "--quiet", f"{revision}^{{{kind}}}")
                answer = self.run(*words)
                if not answer.code:
                    return answer.line()
        raise self._unknown(revision)

    def merge_base(self, one: str, other: str) -> str:
        """Return the id of the best common ancestor of two commits.

        Raises InputError where there is none, or where the history does not reach back to it.
        """
        answer = self.run("merge-base", self.commit(one), self.commit(other))
        if not answer.code:
            return answer.line().partition("\n")[0]
        if self.shallow:
            raise InputError(
                f"the history of this shallow clone ends before `{one}` and `{other}` meet",
                hints=DEEPEN,
            )
        raise InputError(
            f"`{one}` and `{other}` have no common commit",
            hints=(f"compare with a commit outright: `--base {one}`",),
        )

    def names(self) -> list[str]:
        """Return the short names of branches and tags, those of remotes too."""
        answer = self.run(
            "for-each-ref",
            "--format=%(refname:short)",
            "refs/heads",
            "refs/remotes",
            "refs/tags",
        )
        return os.fsdecode(answer.out).splitlines()

    def _unknown(self, revision: str) -> InputError:
        """Return the error that says that there is no such revision, and why that may be."""
        names = self.names()
        if not names and self.run("rev-parse", "--verify", "--quiet", "HEAD").code:
            return InputError(
                "the repository has no commits yet",
                hints=("there is something to compare after the first `git commit`",),
            )
        if not revision or revision.startswith("-"):
            return InputError(f"`{revision}` cannot be a revision")
        known = self.run("rev-parse", "--verify", f"{revision}^{{object}}")
        if "ambiguous" in known.said:
            return InputError(f"`{revision}` is the start of several ids: write more of it")
        if not known.code:
            return InputError(f"`{revision}` is neither a commit nor a tree")
        return InputError(f"there is no revision `{revision}`", hints=self._ways(revision, names))

    def _ways(self, revision: str, names: list[str]) -> tuple[str, ...]:
        """Return what to do about a revision that is not known."""
        remote = next((name for name in names if name.partition("/")[2] == revision), "")
        if remote:
            return (f"did you mean `{remote}`?",)
        stem = re.split(r"[~^@:]", revision)[0]
        if stem != revision and (stem in names or stem in {"", "HEAD"}):
            return DEEPEN if self.shallow else (f"the history of `{stem or 'HEAD'}` is shorter",)
        if near(revision, [*names, "HEAD"]):
            return did_you_mean(revision, [*names, "HEAD"])
        if _HEX.fullmatch(revision):
            fetch = f"if it is on a server, fetch it: `git fetch origin {revision}`"
            return (fetch, *DEEPEN[:1]) if self.shallow else (fetch,)
        return (f"if it is a branch of a server, fetch it: `git fetch origin {revision}`",)


def _modules(folder: str) -> Iterator[str]:
    """Yield the object folders of the submodules whose repositories lie in `folder`."""
    for here, folders, files in os.walk(folder):
        if "HEAD" in files and "objects" in folders:
            yield os.path.join(here, "objects")
            folders[:] = [name for name in folders if name == "modules"]


def _refused(folder: str, said: str) -> InputError | HostError:
    """Return the error for what git said about a folder."""
    if "dubious ownership" in said or "safe.directory" in said:
        found = re.search(r"repository at '(.*?)'", said)
        place = found[1] if found else folder
        return HostError(
            f"git does not trust `{place}`: the folder belongs to another user",
            hints=(f"if you do, run `git config --global --add safe.directory {place}`",),
        )
    if "not a git repository" in said:
        return InputError(
            f"`{folder}` is not in a git repository",
            hints=("`git init`, then `git add` and `git commit`, make it one",),
        )
    return HostError(f"git cannot look at `{folder}`: {last_line(said)}")


def last_line(said: str) -> str:
    """Return the last line that git said, without the word in front."""
    lines = said.splitlines() or ["it does not say why"]
    return re.sub(r"^(fatal|error): ", "", lines[-1])
