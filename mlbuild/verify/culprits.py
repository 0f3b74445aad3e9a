"""Culprits: why two runs most likely differ, told from what differs and from the script."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mlbuild.errors import Span
from mlbuild.verify.arrays import is_absurd
from mlbuild.verify.difference import Difference

_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\b\d\d:\d\d:\d\d\b|\b1[6-9]\d{8}(?:\.\d+|\b)")
_ADDRESS = re.compile(r"\b0x[0-9a-f]{8,16}\b")
_PLACE = re.compile(r"/tmp/tmp\w{6,}|/tmp/\d+-[0-9a-f-]{36}")  # noqa: S108 - looked for


@dataclass(frozen=True, slots=True)
class Culprit:
    """Something that makes runs differ, and what to do about it."""

    name: str  # short and stable, for programs
    message: str
    span: Span | None = None  # in the script; None where the difference itself tells it


def in_differences(differences: Sequence[Difference]) -> Iterator[Culprit]:
    """Yield what the differences themselves give away."""
    for test, name, message in _SIGNS:
        if any(test(one) for one in differences):
            yield Culprit(name, message)
    if any(map(is_absurd, differences)):
        yield Culprit("uninitialised-memory", _EMPTY)


def _stamped(one: Difference) -> bool:
    return one.kind == "time stamp"


_EMPTY = (
    "values of absurd size look like memory that nobody has written: fill what `empty` returns, "
    "or use `zeros`"
)
_GZIP = (
    "gzip writes the time into its head: use `gzip.GzipFile(…, mtime=0)` or "
    '`gzip.compress(…, mtime=0)`; in pandas, `compression={"method": "gzip", "mtime": 0}`'
)
_ARCHIVE = (
    "archives keep the time of each member: write with `zipfile.ZipInfo(name)`, which has a "
    "fixed date, or set `TarInfo.mtime = 0`"
)
_TORCH_SAVE = (
    "torch.save writes the file's own name into the file: save under the same name each time, "
    "or into an `io.BytesIO` that is then written"
)
_SIGNS: tuple[tuple[Callable[[Difference], bool], str, str], ...] = (
    (
        lambda one: _stamped(one) and "head" in one.where,
        "gzip-time-stamp",
        _GZIP,
    ),
    (
        lambda one: _stamped(one) and "head" not in one.where,
        "archive-time-stamp",
        _ARCHIVE,
    ),
    (
        lambda one: one.kind == "name" and one.what.startswith("the folder in it"),
        "torch-save-name",
        _TORCH_SAVE,
    ),
    (
        lambda one: one.kind == "order" and "metadata" not in one.what,
        "order",
        "the same things in another order: sort what comes from a folder, a set or threads",
    ),
    (
        lambda one: one.kind == "text" and bool(_TIME.search(one.what)),
        "clock",
        "a time stands in it: leave it out, or take it from SOURCE_DATE_EPOCH",
    ),
    (
        lambda one: one.kind == "text" and bool(_ADDRESS.search(one.what)),
        "memory-address",
        "an address in memory stands in it, as the text of an object that has no better one",
    ),
    (
        lambda one: bool(_PLACE.search(one.what)),
        "absolute-path",
        "the path of a temporary folder stands in it: write paths relative to the outputs",
    ),
)

_UNSORTED = "gives names in no order: put `sorted(…)` around it"
_CLOCK = "differs from run to run: leave it out, or take it from SOURCE_DATE_EPOCH"
_RANDOM = "is random in every run: derive it from the content or from the seed"
_UNSEEDED = "without a seed starts from chance: give it the seed"
_UNWRITTEN = "returns memory that nobody has written: fill it, or use `zeros`"
_UNORDERED = "gives results in the order in which they are ready: use `map`, or sort them"
_HOST = "differs from machine to machine"
_CALLS = {
    **dict.fromkeys(
        ("os.listdir", "os.scandir", "os.walk", "glob.glob", "glob.iglob", ".iterdir", ".rglob"),
        ("unsorted-listing", _UNSORTED),
    ),
    **dict.fromkeys(
        (
            *("time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"),
            *("date.today", "datetime.datetime.now", "datetime.datetime.utcnow"),
            *("datetime.date.today", "time.strftime", "time.ctime", "pd.Timestamp.now"),
        ),
        ("clock", _CLOCK),
    ),
    **dict.fromkeys(
        ("uuid.uuid1", "uuid.uuid4", "os.urandom", "secrets.token_hex", "secrets.token_bytes"),
        ("randomness", _RANDOM),
    ),
    **dict.fromkeys(
        (
            *("np.empty", "np.empty_like", "numpy.empty", "numpy.empty_like", "np.ndarray"),
            *("torch.empty", "torch.empty_like", "numpy.ndarray"),
        ),
        ("uninitialised-memory", _UNWRITTEN),
    ),
    **dict.fromkeys(
        ("as_completed", "concurrent.futures.as_completed", ".imap_unordered"),
        ("order", _UNORDERED),
    ),
    **dict.fromkeys(
        ("os.getpid", "socket.gethostname", "platform.node", "os.uname"), ("host", _HOST)
    ),
}
_SEEDED = frozenset(
    {
        *("np.random.default_rng", "numpy.random.default_rng", "default_rng", "random.Random"),
        *("np.random.RandomState", "numpy.random.RandomState", "random.seed", "np.random.seed"),
        *("numpy.random.seed",),
    }
)
_DRAWING = ("random.", "np.random.", "numpy.random.", "torch.rand", "torch.normal", "torch.bern")
_ARCHIVES = {
    "zipfile.ZipFile": ("archive-time-stamp", "keeps the time of each member: use `ZipInfo(name)`"),
    "ZipFile": ("archive-time-stamp", "keeps the time of each member: use `ZipInfo(name)`"),
    "tarfile.open": ("archive-time-stamp", "keeps the time of each member: set `mtime = 0`"),
    "gzip.open": ("gzip-time-stamp", "writes the time: use `gzip.GzipFile(…, mtime=0)`"),
    "gzip.GzipFile": ("gzip-time-stamp", "writes the time: give it `mtime=0`"),
    "gzip.compress": ("gzip-time-stamp", "writes the time: give it `mtime=0`"),
}


def in_script(path: str, text: str, *, seeded: bool) -> list[Culprit]:
    """Return what of a Python script may differ from run to run, in the order of its lines.

    `seeded` says whether its target has a seed. A text that is no Python has no culprits.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    sorted_ones = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _name(node.func) in _ORDERING
        for inner in ast.walk(node)
    }
    found = [
        Culprit(name, message, Span(path, node.lineno, node.col_offset + 1, len(called) or 1))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for called in [_name(node.func)]
        for name, message in _judge(node, called, in_order=id(node) in sorted_ones, seeded=seeded)
    ]
    return sorted(found, key=_place)


def _place(one: Culprit) -> tuple[int, int]:
    return (one.span.line, one.span.column) if one.span else (0, 0)


# What makes an order, or does not care for one.
_ORDERING = frozenset({"sorted", "sum", "len", "min", "max", "any", "all", "set", "frozenset"})


def _judge(
    node: ast.Call, called: str, *, in_order: bool, seeded: bool
) -> Iterable[tuple[str, str]]:
    """Yield why a call may give something else each time."""
    tail = "." + called.rpartition(".")[2]
    name, message = _CALLS.get(called) or _CALLS.get(tail, ("", ""))
    keywords = {keyword.arg for keyword in node.keywords}
    if name and not (in_order and name in {"unsorted-listing", "order"}):
        yield name, f"`{called}` {message}"
    elif tail == ".glob" and called != "glob.glob" and not in_order:
        yield "unsorted-listing", f"`{called}` {_UNSORTED}"
    elif called == "hash":
        yield "string-hash", "`hash` of a text differs wherever PYTHONHASHSEED is not fixed"
    elif called in _SEEDED and not node.args and not keywords:
        yield "unseeded", f"`{called}` {_UNSEEDED}"
    elif called.startswith(_DRAWING) and called not in _SEEDED and not seeded:
        yield "unseeded", f"`{called}` draws from chance: give the target a `seed`"
    elif called in _ARCHIVES and "mtime" not in keywords and _writes(node, called):
        name, message = _ARCHIVES[called]
        yield name, f"`{called}` {message}"


def _writes(node: ast.Call, called: str) -> bool:
    """Say whether a call opens an archive to write it."""
    if called == "gzip.compress":
        return True
    given = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "mode")]
    return any(
        isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value[:1] in {"w", "x"}
        for one in given
    )


def _name(node: ast.expr) -> str:
    """Return the dotted name of what is called, `.method` where its object has none."""
    words: list[str] = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    words.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(words))
