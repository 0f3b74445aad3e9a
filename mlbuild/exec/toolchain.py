"""Toolchain: the host tools that actions name, as Tools with an identity taken of their content."""

import glob
import json
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from blake3 import blake3

from mlbuild.errors import HostError, InputError, did_you_mean
from mlbuild.exec.base import Tool

_NAMES = ("python", "uv", "bash", "sh")
_MOUNT = "/python"
_FETCH = 600.0  # seconds that uv has to fetch an interpreter

# Not part of what a program computes: caches, what belongs to no environment, and test suites.
_SKIPPED = frozenset(
    {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idle_test", "ensurepip"}
)

# Run by an interpreter other than ours; prints what `Interpreter` holds.
_PROBE = (
    "import json,sys,sysconfig as s;"
    "print(json.dumps([sys._base_executable if hasattr(sys,'_base_executable') else sys.executable,"
    "sys.base_prefix,sys.version,s.get_platform(),s.get_path('stdlib'),"
    "'%d.%d' % sys.version_info[:2]]))"
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What a Python interpreter says of itself."""

    executable: str  # real path
    prefix: str
    version: str  # sys.version
    platform: str
    stdlib: str  # absolute path
    short: str  # "3.11"


class Toolchain:
    """Finds host tools. `cache` is a private folder for identities that take long to compute."""

    def __init__(self, cache: str, *, search: str = "/usr/local/bin:/usr/bin:/bin") -> None:
        self._cache = cache
        self._search = search.split(":")  # the caller's PATH

    def resolve(self, name: str) -> Tool:
        """Return the host tool `name`: "python", "python@3.12", "uv", "bash" or "sh".

        Raises InputError for a name that means nothing, HostError for a tool that is not here.
        """
        kind, _, version = name.partition("@")
        if kind == "python":
            return _python_tool(name, self._interpreter(version), cache=self._cache)
        if name == "uv":
            return _uv(self._search, cache=self._cache)
        if name in {"bash", "sh"}:
            path = next(filter(os.path.exists, (f"/usr/bin/{name}", f"/bin/{name}")), "")
            if not path:
                raise HostError(f"there is no `{name}` in /usr/bin or /bin")
            return Tool(name, path, "", "", "host")  # its content is part of the platform
        raise InputError(f"no tool is called `{name}`", hints=did_you_mean(name, _NAMES))

    def _interpreter(self, version: str) -> Interpreter:
        own = _own_interpreter()
        if not version or version in {own.short, own.version.split()[0]}:
            return own
        if not re.fullmatch(r"3(\.\d+){1,2}", version):
            raise InputError(
                f"`{version}` is no version of Python", hints=("write it like `3.12` or `3.12.4`",)
            )
        for path in _candidates(version, self._search):
            found = self._fitting(path, version)
            if found:
                return found
        said = ""
        for fetch in (False, True):  # a build may have to wait for a download, once
            path, said = _uv_python(_uv_path(self._search), version, fetch=fetch)
            found = self._fitting(path, version) if path else None
            if found:
                return found
        raise HostError(
            f"Python {version} is not on this host, and uv cannot fetch it",
            hints=(
                f"there is Python {', '.join(self._known_versions())}",
                f"install it, for example with `uv python install {version}`",
            ),
            notes=(f"uv says: {said}",) if said else (),
        )

    def _fitting(self, path: str, version: str) -> Interpreter | None:
        """Return the interpreter at `path` if it is a CPython of this version."""
        found = _ask(os.path.realpath(path), cache=self._cache)
        return found if found and version in {found.short, found.version.split()[0]} else None

    def _known_versions(self) -> list[str]:
        found = {_own_interpreter().short}
        for path in _candidates("3.*", self._search):
            if re.fullmatch(r"python3\.\d+", os.path.basename(path)):
                interpreter = _ask(os.path.realpath(path), cache=self._cache)
                if interpreter:
                    found.add(interpreter.short)
        return sorted(found, key=lambda short: [int(part) for part in short.split(".")])


def _own_interpreter() -> Interpreter:
    base: str = getattr(sys, "_base_executable", sys.executable)
    return Interpreter(
        os.path.realpath(base),
        os.path.realpath(sys.base_prefix),
        sys.version,
        sysconfig.get_platform(),
        os.path.dirname(os.path.realpath(os.__file__)),
        f"{sys.version_info.major}.{sys.version_info.minor}",
    )


def _candidates(version: str, search: list[str]) -> Iterator[str]:
    """Yield paths where Python `version` (a pattern; `3.12` also stands for `3.12.1`) may be."""
    short = ".".join(version.split(".")[:2])
    for folder in search:
        yield from glob.glob(f"{folder}/python{short}")
    home = os.path.expanduser("~")
    for pattern in (
        f"{home}/.pyenv/versions/{version}*/bin/python{short}",
        f"{home}/.local/share/uv/python/cpython-{version}*/bin/python{short}",
    ):
        yield from sorted(glob.glob(pattern), reverse=True)


def _ask(path: str, *, cache: str) -> Interpreter | None:
    """Return what the interpreter at `path` says of itself; None when it is none that runs."""
    with open(path, "rb") as file:
        if file.read(4) != b"\x7fELF":  # a script that picks an interpreter by itself, as pyenv's
            return None
    text = _remembered(cache, _stamps([path]), lambda: _output([path, "-I", "-S", "-c", _PROBE]))
    try:
        executable, prefix, version, platform, stdlib, short = json.loads(text)
    except ValueError:
        return None
    return Interpreter(
        os.path.realpath(executable),
        os.path.realpath(prefix),
        version,
        platform,
        os.path.realpath(stdlib),
        short,
    )


def _python_tool(name: str, python: Interpreter, *, cache: str) -> Tool:
    libpython = glob.glob(f"{python.prefix}/lib/libpython{python.short}*.so*")
    binaries = [python.executable, *sorted(libpython)]
    files = [*binaries, *library(python.stdlib)]

    def identity() -> str:
        found = blake3(f"{python.version}\0{python.platform}\0".encode())
        for path in files:
            shown = path.removeprefix(python.prefix)
            found.update(f"{shown}\0".encode("utf-8", "surrogateescape"))
            with open(path, "rb") as file:
                found.update(blake3(file.read()).digest())
        return f"python {python.version.split()[0]} {found.hexdigest()}"

    content = _remembered(cache, _stamps(files), identity)
    executable = os.path.relpath(python.executable, python.prefix)
    # An action may have two of them: one that runs its program, one that the program is told of.
    place = _MOUNT if name == "python" else f"{_MOUNT}-{python.short}"
    elsewhere = python.prefix if _is_bound_to(python) else place
    mount = "" if python.prefix == "/usr" else elsewhere
    hidden = tuple(_packages(python))
    return Tool(name, python.prefix, mount, executable, content, hidden)


def library(stdlib: str) -> Iterator[str]:
    """Yield the files of the standard library, sorted within each folder."""
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(stdlib) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name not in _SKIPPED:
                    folders.append(entry.path)
            elif not entry.name.endswith((".pyc", ".a")):
                files.append(entry.path)
    yield from sorted(files)
    for folder in sorted(folders):
        yield from library(folder)


def _is_bound_to(python: Interpreter) -> bool:
    """Say whether the interpreter finds its library only at the path it was installed to."""
    with open(python.executable, "rb") as file:
        content = file.read()
    return (
        f"libpython{python.short}".encode() in content and f"{python.prefix}/".encode() in content
    )


def _packages(python: Interpreter) -> Iterator[str]:
    """Yield the folders of installed packages, relative to the prefix."""
    short, prefix = python.short, python.prefix
    for folder in (
        f"lib/python{short}/site-packages",
        f"lib64/python{short}/site-packages",
        "lib/python3/dist-packages",
        f"local/lib/python{short}/dist-packages",
        f"local/lib/python{short}/site-packages",
    ):
        path = f"{prefix}/{folder}"
        if os.path.isdir(path) and os.path.realpath(path) == path:
            yield folder


def _uv(search: list[str], *, cache: str) -> Tool:
    path = _uv_path(search)

    def identity() -> str:
        # "uv 0.8.3 (hash date)": the hash belongs to the build of that version
        words = _output([path, "--version"]).split()
        if words[:1] != ["uv"]:
            raise HostError(f"`{path}` is not uv")
        return f"uv {words[1]}"

    return Tool("uv", path, "/tools/uv", "", _remembered(cache, _stamps([path]), identity))


def _uv_path(search: list[str]) -> str:
    try:
        from uv import find_uv_bin  # noqa: PLC0415 - only when an action needs it

        return os.path.realpath(find_uv_bin())
    except (ImportError, FileNotFoundError):
        pass
    for folder in search:
        if os.access(f"{folder}/uv", os.X_OK):
            return os.path.realpath(f"{folder}/uv")
    raise HostError("uv is not installed", hints=("install it with `pip install uv`",))


def _uv_python(uv: str, version: str, *, fetch: bool) -> tuple[str, str]:
    """Return the path of a CPython that uv finds, after it may `fetch` one, or what it says."""
    import subprocess  # noqa: PLC0415 - only where the quick looks have failed

    common = ("--no-config", "--color", "never", "--no-progress")
    asked = f"cpython@{version}"
    said = ""
    steps = [["python", "find", "--no-project", "--no-python-downloads"]]
    if fetch:
        steps.insert(0, ["python", "install", "--no-bin"])
    for words in steps:
        try:
            done = subprocess.run(
                [uv, *words, *common, asked],
                capture_output=True,
                text=True,
                timeout=_FETCH,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return "", str(error)
        said = " ".join(done.stderr.split())
        if done.returncode != 0:
            return "", said
        path = done.stdout.strip()
    return path, said


def _output(argv: list[str]) -> str:
    """Return what a command prints; "" when it fails."""
    import subprocess  # noqa: PLC0415 - only where an identity is not remembered

    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _stamps(files: list[str]) -> str:
    """Return a digest of the names, sizes, times and inodes of `files`: equal means unchanged."""
    parts: list[str] = []
    for path in files:
        status = os.stat(path)
        parts.append(
            f"{path}\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
        )
    return blake3("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _remembered(cache: str, stamps: str, compute: Callable[[], str]) -> str:
    """Return what `compute` gave when the files had these `stamps`; compute it when never."""
    path = f"{cache}/tool-{stamps[:32]}"
    try:
        with open(path, encoding="utf-8") as file:
            text, _, check = file.read().rpartition("\n")
            if blake3(text.encode()).hexdigest() == check:
                return text
    except (OSError, UnicodeDecodeError):  # absent or damaged
        pass
    text = compute()
    os.makedirs(cache, mode=0o700, exist_ok=True)
    fresh = f"{path}.{os.getpid()}"
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(f"{text}\n{blake3(text.encode()).hexdigest()}")
    try:
        os.replace(fresh, path)
    except IsADirectoryError:  # damage: the next process computes it again
        os.unlink(fresh)
    return text
