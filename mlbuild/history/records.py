"""Records: what ran, for ever, in one small database beside the store.

It explains and it lists; no result depends on it. So nothing here stops a build: a damaged database
is moved aside, and one that cannot be written is left alone, each with one warning.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from mlbuild.core.action import Json
from mlbuild.store.files import fullness

VERSION = 1  # of the table, in the file's own field for that
PATIENCE = 5.0  # seconds that another process may keep the database
_CORRUPT, _NOT_A_DATABASE = 11, 26  # primary result codes of SQLite

_TABLE = """
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY,
    invocation TEXT NOT NULL,
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    action TEXT NOT NULL,
    mnemonic TEXT NOT NULL,
    key TEXT NOT NULL,
    status TEXT NOT NULL,
    at TEXT NOT NULL,
    user TEXT NOT NULL,
    host TEXT NOT NULL,
    seconds REAL NOT NULL,
    metrics TEXT NOT NULL,
    log TEXT NOT NULL,
    revision TEXT NOT NULL,
    dirty INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_action ON records (workspace, action);
CREATE INDEX IF NOT EXISTS by_label ON records (workspace, label);
"""
_COLUMNS = (
    "invocation, workspace, name, label, action, mnemonic, key, status, at, user, host, "
    "seconds, metrics, log, revision, dirty"
)


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of one action: what came of it, when, where, by whom, from which commit."""

    invocation: str
    workspace: str  # its root
    label: str
    action: str  # the action's id
    mnemonic: str
    key: str
    ran: bool  # False: a known result served
    seconds: float = 0.0
    metrics: Mapping[str, Json] | None = None
    failed: bool = False
    log: str = ""  # absolute path
    name: str = ""  # the workspace's
    commit: str = ""  # of git, "" where there is none
    dirty: bool = False  # whether tracked files differed from that commit
    when: str = ""  # UTC, `2026-11-21T10:56:00Z`; "" is now, when appended
    user: str = ""  # "" is who appends
    host: str = ""
    id: int = 0  # given by the database


class Records:
    """The history of one store. The database is opened when first asked."""

    def __init__(self, path: str, *, warn: Callable[[str], None] = lambda _: None) -> None:
        self._path = path
        self._warn = warn
        self._database: Any = None  # sqlite3.Connection
        self._given_up = False
        self._opened: tuple[int, int] | None = None  # device and inode of the file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, records: Iterable[Record]) -> None:
        """Keep `records`, in their order, all or none."""
        user, host = _user(), os.uname().nodename
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        rows = [_row(record, user=user, host=host, now=now) for record in records]
        marks = ", ".join("?" * len(_COLUMNS.split(",")))
        statement = f"INSERT INTO records ({_COLUMNS}) VALUES ({marks})"  # noqa: S608 - ours

        def insert(database: Any) -> None:
            with database:
                database.executemany(statement, rows)

        self._ask(insert, otherwise=None)

    def latest(
        self, workspace: str, action: str, *, n: int = 2, ran_only: bool = False
    ) -> list[Record]:
        """Return the last `n` successes of an action in the workspace at a root, newest first."""
        wanted = "status = 'ran'" if ran_only else "status <> 'failed'"
        return self._select(f"workspace = ? AND action = ? AND {wanted}", (workspace, action), n=n)

    def last_log(self, workspace: str, label: str) -> str | None:
        """Return the path of the newest log of a target that still exists."""
        found = self._select("workspace = ? AND label = ? AND log <> ''", (workspace, label), n=50)
        return next((one.log for one in found if os.path.isfile(one.log)), None)

    def close(self) -> None:
        """Let go of the database; it is opened again when asked again."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _select(self, where: str, values: tuple[str, ...], *, n: int) -> list[Record]:
        query = f"SELECT {_COLUMNS}, id FROM records WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - ours
        rows: list[tuple[Any, ...]] = self._ask(
            lambda database: database.execute(query, (*map(_stored, values), n)).fetchall(),
            otherwise=[],
        )
        return [_record(row) for row in rows]

    def _ask(self, question: Callable[[Any], Any], *, otherwise: Any) -> Any:
        """Return what the database answers, `otherwise` when it cannot be asked.

        A damaged one is moved aside, and the question put to a new one.
        """
        import sqlite3  # noqa: PLC0415 - start-up: most builds write no history

        for _ in range(2):
            if self._given_up:
                return otherwise
            try:
                if self._database is None:
                    self._open(sqlite3)
                return question(self._database)
            except (sqlite3.Error, OSError) as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                if code in {_CORRUPT, _NOT_A_DATABASE} and self._move_aside():
                    continue
                self._give_up(f"the history `{self._path}` is not used: {error}")
        return otherwise

    def _open(self, sqlite3: Any) -> None:
        # SQLite maps a file; where the disk has no room for its pages the kernel kills us.
        if fullness(os.path.dirname(self._path)) is not None:
            self._give_up(f"the history `{self._path}` is not written: no space is left")
            raise sqlite3.OperationalError("full")
        self._database = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level="IMMEDIATE")
        found = os.stat(self._path)
        self._opened = found.st_dev, found.st_ino
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            self._give_up(f"the history `{self._path}` is of a newer mlbuild and is left alone")
            raise sqlite3.OperationalError("newer")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        if version < VERSION:
            self._database.executescript(f"{_TABLE}PRAGMA user_version = {VERSION};")

    def _give_up(self, why: str) -> None:
        if not self._given_up:
            self._given_up = True
            self._warn(why)
        self.close()

    def _move_aside(self) -> bool:
        """Rename a damaged database, unless another process has done so; False if that fails."""
        self.close()
        try:
            found = os.stat(self._path)
            if self._opened in {None, (found.st_dev, found.st_ino)}:
                aside = f"{self._path}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
                os.replace(self._path, aside)
                for ending in ("-wal", "-shm"):
                    if os.path.exists(self._path + ending):
                        os.replace(self._path + ending, aside + ending)
                self._warn(f"the history was damaged; it is kept as `{aside}`, a new one begins")
        except OSError:
            return False
        return True


def _row(record: Record, *, user: str, host: str, now: str) -> tuple[object, ...]:
    status = "failed" if record.failed else "ran" if record.ran else "cached"
    metrics = "" if record.metrics is None else json.dumps(record.metrics, separators=(",", ":"))
    texts = (
        record.invocation,
        record.workspace,
        record.name,
        record.label,
        record.action,
        record.mnemonic,
        record.key,
        status,
        record.when or now,
        record.user or user,
        record.host or host,
    )
    return (
        *map(_stored, texts),
        record.seconds,
        metrics,
        _stored(record.log),
        record.commit,
        int(record.dirty),
    )


def _record(row: tuple[Any, ...]) -> Record:
    texts, (seconds, metrics, log, commit, dirty, id_) = map(_loaded, row[:11]), row[11:]
    invocation, workspace, name, label, action, mnemonic, key, status, when, user, host = texts
    return Record(
        invocation=invocation,
        workspace=workspace,
        label=label,
        action=action,
        mnemonic=mnemonic,
        key=key,
        ran=status == "ran",
        seconds=seconds,
        metrics=json.loads(metrics) if metrics else None,
        failed=status == "failed",
        log=_loaded(log),
        name=name,
        commit=commit,
        dirty=bool(dirty),
        when=when,
        user=user,
        host=host,
        id=id_,
    )


def _stored(text: str) -> str | bytes:
    """Return what the database can hold for a text; the name of a file may be no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text)
    return text


def _loaded(value: str | bytes) -> str:
    return os.fsdecode(value) if isinstance(value, bytes) else value


def _user() -> str:
    """Return the name of the user that this process runs as."""
    from pwd import getpwuid  # noqa: PLC0415 - start-up: only where history is written

    try:
        return getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user needs no entry
        return str(os.getuid())
