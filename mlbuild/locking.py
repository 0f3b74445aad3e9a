"""Locking: what `mlbuild lock` does, the only thing in mlbuild that resolves versions and tags.

A target takes part when it has the attributes of a lock: `lock` and `requirements`, as a
python_environment has, or `image` and `lock`, as a container_environment has. uv resolves
packages; the tags of images are resolved by the program that also fetches images.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlbuild.core.label import parse_label
from mlbuild.errors import HostError, InputError
from mlbuild.exec.toolchain import Toolchain
from mlbuild.graph.package import Target
from mlbuild.graph.select import Choice, Select

SCRIPT = "# /// script"
WORDS = ("pip", "compile", "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links")
QUIET = ("--quiet", "--color", "never")


@dataclass(frozen=True, slots=True)
class Wish:
    """How locks are to be made."""

    upgrade: bool = False
    packages: tuple[str, ...] = ()  # those to upgrade
    check: bool = False  # only say whether locks are up to date
    narrow: bool = False  # for this platform only


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that some target has, and what it is made of."""

    label: str
    path: str  # of the lock, relative to the workspace, as all paths here
    source: str  # a requirements.in, a pyproject.toml or a script; "" for an image
    image: str = ""  # the name with its tag
    python: str = ""  # the version that the target asks for
    sdists: bool = False

    @property
    def kind(self) -> str:
        """Return "image", "project", "script", "pylock" or "requirements"."""
        name = os.path.basename(self.path)
        if self.image:
            return "image"
        if name == "uv.lock":
            return "project"
        if self.source.endswith(".py"):
            return "script"
        return "pylock" if name.startswith("pylock") and name.endswith(".toml") else "requirements"


@dataclass(frozen=True, slots=True)
class Locked:
    """What became of a lock."""

    lock: Lock
    changed: bool  # or, for a check, whether it would


def locks_of(targets: Sequence[Target]) -> list[Lock]:
    """Return the locks that targets have, each once; of a `select`, all branches.

    A target whose lock says nothing of what it is made of is passed over, unless it is the only
    one: then InputError is raised.
    """
    found: dict[tuple[str, str], Lock] = {}
    for target in targets:
        if "lock" not in target.attributes:
            continue
        for values in _branches(target):
            lock = _lock(target, values, alone=len(targets) == 1)
            if lock is not None:
                found.setdefault((lock.path, lock.image), lock)
    return list(found.values())


def _branches(target: Target) -> Iterator[dict[str, str]]:
    """Yield the values of the attributes that make a lock, for each branch of their selects."""
    names = ("lock", "requirements", "image", "python")
    given = {name: target.attributes[name] for name in names if name in target.attributes}
    choices = {
        name: dict(value.parts[0].branches)
        for name, value in given.items()
        if isinstance(value, Select)
        and len(value.parts) == 1
        and isinstance(value.parts[0], Choice)
    }
    conditions = dict.fromkeys(text for branches in choices.values() for text in branches)
    for condition in conditions or {"": None}:
        values = {}
        for name, value in given.items():
            branches = choices.get(name)
            if branches is None:
                values[name] = "" if isinstance(value, Select) else value or ""
            else:
                values[name] = branches.get(condition, next(reversed(branches.values()))) or ""
        yield values


def _lock(target: Target, values: Mapping[str, str], *, alone: bool) -> Lock | None:
    """Return the lock of one branch; None where there is nothing to resolve."""
    path = _path(values["lock"], target)
    image = values.get("image", "")
    if "image" in target.attributes:
        return Lock(str(target.label), path, "", image) if path and "@" not in image else None
    if "requirements" not in target.attributes or not path:
        return None
    if not values["requirements"]:
        if not alone:
            return None
        raise InputError(
            f"`{target.label}` does not say what its lock is made of",
            span=target.span,
            hints=('add `requirements = "requirements.in"`, or `"pyproject.toml"`, or the script',),
        )
    sdists = target.attributes.get("allow_sdist") is True
    source = _path(values["requirements"], target)
    return Lock(str(target.label), path, source, "", values.get("python", ""), sdists)


def _path(text: str, target: Target) -> str:
    """Return the workspace path of a file that a label names."""
    if not text:
        return ""
    label = parse_label(text, package=target.label.package, span=target.span)
    return f"{label.package}/{label.name}" if label.package else label.name


class Locker:
    """Makes locks. `environ` reaches uv: indexes and credentials are the caller's."""

    def __init__(
        self, root: str, rules: str, cache: str, *, environ: Mapping[str, str], wish: Wish
    ) -> None:
        self._root = root
        self._rules = rules
        self._environ = environ
        self._wish = wish
        self._toolchain = Toolchain(f"{cache}/tools", search=environ.get("PATH", ""))

    def make(self, locks: Sequence[Lock], *, say: Callable[[str], None]) -> Iterator[Locked]:
        """Make or check one lock after the other. Raises InputError where uv finds no solution."""
        for lock in locks:
            say(f"{lock.path}: resolving {lock.source or lock.image}")
            if lock.source and not os.path.isfile(f"{self._root}/{lock.source}"):
                raise InputError(
                    f"there is no `{lock.source}`, of which `{lock.label}` makes its lock"
                )
            match lock.kind:
                case "image":
                    yield Locked(lock, self._image(lock))
                case "project" | "script":
                    yield Locked(lock, self._uv_lock(lock))
                case _:
                    yield Locked(lock, self._compiled(lock))

    def _compiled(self, lock: Lock) -> bool:
        """Have `uv pip compile` write a lock; say whether it is another one now."""
        place = f"{self._root}/{lock.path}"
        before = _text(place)
        # The same folder, so that what stands in the lock relative to it means the same. uv keeps
        # the versions of an output that is there.
        suffix = ".toml" if lock.kind == "pylock" else ".txt"
        fresh = f"{os.path.dirname(place)}/pylock.{os.getpid()}{suffix}"
        narrow = self._wish.narrow or "--this-platform" in before.partition("\n\n")[0]
        command = f"mlbuild lock {lock.label}{' --this-platform' if narrow else ''}"
        words = [*WORDS, *QUIET, "--custom-compile-command", command, *self._upgrades()]
        words += [] if narrow else ["--universal"]
        words += ["--format", "pylock.toml"] if lock.kind == "pylock" else []
        words += ["--emit-build-options"] if lock.sdists else ["--only-binary", ":all:"]
        words += self._interpreter(lock)
        try:
            if before:
                _write(fresh, before)
            self._uv([*words, lock.source, "-o", os.path.relpath(fresh, self._root)], lock)
            after = _text(fresh)
        finally:
            if os.path.lexists(fresh):
                os.remove(fresh)
        if _meant(before) == _meant(after):
            return False
        if not self._wish.check:
            _write(place, after)
        return True

    def _uv_lock(self, lock: Lock) -> bool:
        """Have `uv lock` write the lock of a project or a script; say whether it is another one."""
        place = f"{self._root}/{lock.path}"
        source = f"{self._root}/{lock.source}"
        if lock.kind == "script":
            if SCRIPT not in _text(source).splitlines():
                raise InputError(
                    f"`{lock.source}` has no inline metadata",
                    hints=(f"`uv add --script {lock.source} numpy` writes it",),
                )
            expected = f"{lock.source}.lock"
            words = ["lock", "--script", lock.source]
        else:
            expected = f"{os.path.dirname(lock.source)}/uv.lock".lstrip("/")
            words = ["lock", "--project", os.path.dirname(lock.source) or "."]
        if expected != lock.path and lock.kind == "script":
            raise InputError(
                f"uv keeps the lock of `{lock.source}` as `{expected}`, not as `{lock.path}`",
                hints=(f'say `lock = "{os.path.basename(expected)}"` in `{lock.label}`',),
            )
        before = _text(place)
        words += [*QUIET, *self._upgrades(), *self._interpreter(lock)]
        if self._wish.check:
            try:
                self._uv([*words, "--check"], lock)
            except InputError as error:
                if "needs to be updated" in " ".join(error.notes) or not before:
                    return True
                raise
            return False
        try:
            self._uv(words, lock)
        except BaseException:
            if before and _text(place) != before:
                _write(place, before)
            raise
        return _text(place) != before

    def _image(self, lock: Lock) -> bool:
        """Ask a registry what a tag stands for; write that into the lock of images."""
        program = f"{self._rules}/tools/image/image_pull.py"
        done = self._run([sys.executable, "-s", program, "--resolve", lock.image])
        if done.returncode != 0:
            raise InputError(
                f"the tag of the image `{lock.image}` cannot be resolved",
                notes=tuple(done.stderr.strip().splitlines()),
            )
        place = f"{self._root}/{lock.path}"
        before = _text(place)
        after = with_image(before, lock.image, done.stdout.strip(), path=lock.path)
        if after != before and not self._wish.check:
            _write(place, after)
        return after != before

    def _upgrades(self) -> list[str]:
        words = ["--upgrade"] if self._wish.upgrade else []
        return words + [word for name in self._wish.packages for word in ("-P", name)]

    def _interpreter(self, lock: Lock) -> list[str]:
        if lock.python and lock.kind not in {"project", "script"}:
            return ["--python-version", lock.python]
        return ["--python", lock.python or sys.executable]

    def _uv(self, words: list[str], lock: Lock) -> None:
        """Run uv; raise InputError with what it says where it finds no solution."""
        done = self._run([self._toolchain.resolve("uv").root, *words])
        if done.returncode == 0:
            return
        said = done.stderr.strip()
        folded = " ".join(said.lower().split())
        notes = tuple(f"  {line}" for line in said.splitlines())
        if re.search(r"failed to fetch|error sending request|connectivity is disabled", folded):
            raise HostError(
                f"`{lock.path}` was not made: a package index cannot be reached",
                hints=("set UV_DEFAULT_INDEX to one that can",),
                notes=notes,
            )
        reason = "its requirements cannot all be met" if "no solution" in folded else "uv failed"
        raise InputError(f"`{lock.path}` was not made: {reason}", notes=notes)

    def _run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=self._root,
            env={**self._environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )


def with_image(text: str, image: str, digest: str, *, path: str) -> str:
    """Return the lock of images `text` with the digest of `image` in it, sorted."""
    import tomllib  # noqa: PLC0415 - only for images

    try:
        known = tomllib.loads(text).get("images", {})
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"`{path}` is no TOML: {error}") from error
    lines = [f'"{name}" = "{value}"\n' for name, value in sorted({**known, image: digest}.items())]
    return "# Written by `mlbuild lock`.\n[images]\n" + "".join(lines)


def _text(place: str) -> str:
    """Return the text of a file, "" when there is none."""
    try:
        with open(place, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _meant(text: str) -> list[str]:
    """Return the lines of a lock without its comments."""
    return [line for line in text.splitlines() if not line.lstrip().startswith("#")]


def _write(place: str, text: str) -> None:
    """Write a file so that it is never half there."""
    temporary = f"{place}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, place)
    except OSError as error:
        raise HostError(f"cannot write `{place}`: {error.strerror}") from error
    finally:
        if os.path.lexists(temporary):
            os.remove(temporary)
