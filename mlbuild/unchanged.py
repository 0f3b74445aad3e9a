"""Unchanged: "is anything different since the last identical command?", from stat data alone.

A build that reached its end is recorded: the words of the command, the look of everything that its
answer rests on, and what it printed. The same words again, while everything looks the same, get
the same answer before anything heavy is imported. Anything else takes the normal way.

Only `sys`, `os`, `marshal`, `array`, `time`, `zlib` and `columns` are imported here.
"""

import marshal
import os
import sys
import time
import zlib

from mlbuild import __version__, columns

MAGIC = 3  # of the record
_CHECK = 4  # bytes of its checksum
_VARIABLES = ("HOME", "PATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
_SECRET = ("MLBUILD_CACHE_TOKEN", "MLBUILD_CACHE_HEADERS")  # no answer rests on them

Files = tuple[str, list[str], bytes]  # folder, names in it, their columns
Folders = tuple[str, bytes, list[str], bytes]  # folder, its stamp, names in it, their columns
Listings = tuple[str, bytes, str]  # folder, its stamp, its listing
Links = tuple[str, list[tuple[str, str]]]  # folder, names and targets of symlinks in it


class Trace:
    """What an answer rests on, collected by a build that began at `since` (ns)."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.files: set[str] = set()  # absolute paths
        self.read: dict[str, bytes] = {}  # columns of some of them, as they were when read
        self.absent: set[str] = set()  # absolute paths
        self.listings: set[str] = set()  # absolute paths of folders
        self.names: dict[str, str] = {}  # what was in some of them when they were read
        self.folders: list[Folders] = []  # everything in them
        self.outputs: list[tuple[str, bytes]] = []  # absolute path and columns of stored files
        self.links: dict[str, str] = {}  # absolute path -> target
        self.uses = ""  # absolute path of the file that keeps the store's results young


def answer(argv: list[str], environ: dict[str, str], started: float) -> int | None:
    """Print what the last identical command printed; return its exit code.

    None when there was none, or when anything looks different. Links to outputs that were
    deleted are made anew.
    """
    folder = _folder(argv)
    root = folder and _root(folder)
    if not root:
        return None
    asked = _asked(argv, environ, folder)
    try:
        with open(_place(root, asked), "rb") as file:
            content = file.read()
        if content[:_CHECK] != _check(content[_CHECK:]):
            return None
        magic, was_asked, kept, report, uses = marshal.loads(content[_CHECK:])  # noqa: S302 - ours
        if magic != MAGIC or was_asked != asked or not _same(*kept):
            return None
    except (OSError, ValueError, EOFError, TypeError):
        return None
    if uses:
        try:  # noqa: SIM105 - start-up: nothing is imported here
            os.utime(uses)
        except OSError:  # the store forgets sooner that it is used
            pass
    _say(report, time.perf_counter() - started)
    return 0


def _say(report: tuple[str, bool, str], seconds: float) -> None:
    """Print a report that was recorded, with the time that it took now."""
    text, is_json, counts = report
    if is_json:
        text = f"{text}{seconds:.3f}}}\n"
    _write(1, text, encoding=getattr(sys.stdout, "encoding", "utf-8"))
    _write(2, f"{counts} · {seconds:.2f}s\n", encoding=getattr(sys.stderr, "encoding", "utf-8"))


def _write(descriptor: int, text: str, *, encoding: str) -> None:
    """Write `text`; where its reader is gone or the disk full, no answer is less true for that."""
    content = text.encode(encoding, "backslashreplace")
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    except OSError:
        return


def record(
    root: str,
    argv: list[str],
    environ: dict[str, str],
    trace: Trace,
    report: tuple[str, bool, str],
) -> None:
    """Keep the answer to a command that reached its end.

    `report` is what it printed on stdout (for JSON: all before the seconds), whether that is
    JSON, and the summary without its time. Nothing is kept when a file is too young for its stamp
    to be trusted or is another one than was read, or where the state cannot be written.
    """
    from mlbuild.state import keep  # noqa: PLC0415 - not on the path of an answer

    folder = _folder(argv)
    files = _grouped(trace.files)
    taken: list[Files] = []
    for place, names in files.items():
        looks = _take(place, names, follow=True)
        if looks is None or columns.young(looks, trace.since):
            return
        if _replaced(place, names, looks, trace.read):
            return
        taken.append((place, names, looks))
    for _, own, _, looks in trace.folders:
        if columns.young(own + looks, trace.since):
            return
    listings: list[Listings] = []
    for place in sorted(trace.listings):
        own = columns.stamp(os.stat(place))
        known = columns.listing(place)
        if trace.names.get(place, known) != known:
            return
        listings.append((place, b"" if columns.young(own, trace.since) else own, known))
    links = [
        (place, [(name, trace.links[f"{place}/{name}"]) for name in names])
        for place, names in _grouped(trace.links).items()
    ]
    paths = [path for path, _ in trace.outputs]
    common = os.path.commonpath([path.rpartition("/")[0] for path in paths]) if paths else ""
    outputs = (
        common,
        [path[len(common) + 1 :] for path in paths],
        b"".join([look for _, look in trace.outputs]),
    )
    kept = (taken, trace.folders, listings, sorted(trace.absent), outputs, links)
    asked = _asked(argv, environ, folder)
    body = marshal.dumps((MAGIC, asked, kept, report, trace.uses))  # type: ignore[arg-type]
    keep(_place(root, asked), _check(body) + body)


def _replaced(folder: str, names: list[str], looks: bytes, read: dict[str, bytes]) -> bool:
    """Say whether a file is not the one that was read.

    A folder that was moved to the place of another brings files whose stamps are old.
    """
    starts = range(0, len(looks), columns.WIDTH)
    return any(
        read.get(f"{folder}/{name}", look) != look
        for name, at in zip(names, starts, strict=True)
        for look in [looks[at : at + columns.WIDTH]]
    )


def _check(body: bytes) -> bytes:
    """Return what must stand before `body`: damage must not pass for an answer."""
    return zlib.crc32(body).to_bytes(_CHECK, "little")


def _folder(argv: list[str]) -> str:
    """Return the folder that the command is given in."""
    try:
        here = os.getcwd()
    except OSError:
        return ""
    for index, word in enumerate(argv[:-1]):
        if word == "-C":
            return os.path.realpath(os.path.join(here, argv[index + 1]))
    return "" if any(word.startswith("-C") for word in argv) else here


def _root(folder: str) -> str:
    """Return the workspace that holds `folder`, "" when there is none."""
    while True:
        try:
            os.stat(f"{folder}/mlbuild.toml")
        except OSError:
            above = folder.rpartition("/")[0]
            if not above:
                return ""
            folder = above
        else:
            return folder


def _asked(argv: list[str], environ: dict[str, str], folder: str) -> tuple[object, ...]:
    """Return all that makes two commands identical."""
    ours = sorted(
        (name, value)
        for name, value in environ.items()
        if (name.startswith("MLBUILD_") or name in _VARIABLES) and name not in _SECRET
    )
    return (__version__, sys.version, sys.executable, tuple(argv), folder, tuple(ours))


def _place(root: str, asked: tuple[object, ...]) -> str:
    name = zlib.crc32(repr(asked).encode("utf-8", "surrogateescape"))
    return f"{root}/.mlbuild/requests/{name:08x}"


def _grouped(paths: "set[str] | dict[str, str]") -> dict[str, list[str]]:
    """Return the names of `paths` by folder."""
    found: dict[str, list[str]] = {}
    for path in sorted(paths):
        folder, _, name = path.rpartition("/")
        found.setdefault(folder, []).append(name)
    return found


def _take(folder: str, names: list[str], *, follow: bool) -> bytes | None:
    at = columns.open_folder(folder or "/")
    try:
        return columns.take(names, at=at, follow=follow)
    finally:
        os.close(at)


def _same(
    files: list[Files],
    folders: list[Folders],
    listings: list[Listings],
    absent: list[str],
    outputs: Files,
    links: list[Links],
) -> bool:
    """Say whether everything looks as it did; OSError says no as well."""
    for place, names, looks in files:
        if _take(place, names, follow=True) != looks:
            return False
    for path in absent:
        if os.path.lexists(path):
            return False
    for place, own, text in listings:
        if columns.stamp(os.stat(place)) != own and columns.listing(place) != text:
            return False
    for place, own, names, looks in folders:
        at = columns.open_folder(place)
        try:
            if (
                columns.stamp(os.fstat(at)) != own
                or columns.take(names, at=at, follow=False) != looks
            ):
                return False
        finally:
            os.close(at)
    place, names, looks = outputs
    if names and _take(place, names, follow=False) != looks:
        return False
    return all(_linked(place, pairs) for place, pairs in links)


def _linked(folder: str, pairs: list[tuple[str, str]]) -> bool:
    """Make sure that symlinks are where and what they were; say whether they are."""
    try:
        at = columns.open_folder(folder)
    except FileNotFoundError:
        os.makedirs(folder)
        at = columns.open_folder(folder)
    try:
        for name, target in pairs:
            try:
                found = os.readlink(name, dir_fd=at)
            except FileNotFoundError:
                found = ""
            except OSError:
                return False  # something of the user's is in its place
            if found != target:
                aside = f".mlbuild-{os.getpid()}"
                os.symlink(target, aside, dir_fd=at)
                os.rename(aside, name, src_dir_fd=at, dst_dir_fd=at)
    finally:
        os.close(at)
    return True
