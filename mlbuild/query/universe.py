"""Universe: the query graph of a workspace. Each package is read when somebody first needs it."""

import os
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Protocol

from mlbuild.core.label import parse_label, parse_pattern
from mlbuild.errors import InputError, did_you_mean
from mlbuild.query import kept
from mlbuild.query.labels import keep_labels
from mlbuild.query.record import (
    BUILD_FILE,
    GENERATED,
    RULES,
    SOURCE,
    Record,
    order,
    package_of,
    path_of,
)
from mlbuild.workspace import Workspace

_FILES_TOO = (":*", ":all-targets")  # ends of patterns that select files and groups as well


class Reads(Protocol):
    """Reads what is not known yet. `by` is the label of the target that asks, "" for the user."""

    def record(self, path: str, *, wanted: str, by: str) -> Record:
        """Return the package of a folder; raise InputError where there is none or it is broken."""
        ...

    def source(self, label: str, *, by: str) -> None:
        """Raise InputError where `label` names no source file or folder."""
        ...

    def walk(self, path: str) -> kept.Walk:
        """Return the packages in and below a folder, and the folders that were looked at."""
        ...

    def attributes(self) -> set[str]:
        """Return the names of all attributes of the rules that every BUILD.ml sees."""
        ...

    @property
    def library(self) -> list[str]:
        """The absolute paths of the files of the rule library that have been read."""
        ...


class Universe:
    """Labels, what they name, and what they are.

    `read` opens what reads packages, once it is needed. `say` hears of patterns that select
    nothing. `fault`, where it is given, is told of what is broken, which then counts as not there;
    else it is raised. Without `implicit`, what rules name by themselves is left out.
    """

    def __init__(
        self,
        workspace: Workspace,
        read: Callable[[], Reads],
        *,
        say: Callable[[str], None],
        fault: Callable[[InputError], None] | None = None,
        implicit: bool = True,
    ) -> None:
        self.root = workspace.root
        self._workspace = workspace
        self._read = read
        self._say = say
        self._fault = fault
        self._implicit = implicit
        self._since = time.time_ns()
        self._kept, whole = kept.recall(workspace)
        self._grown = not whole  # whether keeping it again is worth it
        self._needs: dict[str, tuple[str, ...]] = dict.fromkeys(self._kept.sources, ())
        self._kinds: dict[str, str] = {}
        self._broken: dict[str, InputError] = {}  # packages that cannot be read
        self._told: list[InputError] = []
        for record in self._kept.records.values():
            self._enter(record)

    def matching(self, text: str, *, package: str = "") -> list[str]:
        """Return the labels that a pattern selects, seen from `package`, in their order.

        Raises InputError for what is no pattern, and for a label that names nothing.
        """
        if text.startswith(RULES):
            return self._only(RULES + text[len(RULES) :].replace(":", "/").lstrip("/"))
        files_too = text.endswith(_FILES_TOO)
        word = f"{text.rpartition(':')[0]}:all" if files_too else text
        pattern = parse_pattern(self._below_package(word, package), package=package)
        if pattern.negative:
            raise InputError(
                f"`{text}` takes something away, and there is nothing before it",
                hints=("write `//models/... - //models/old/...`",),
            )
        if pattern.name is not None:
            return self._only(f"//{pattern.package}:{pattern.name}")
        paths: Iterable[str] = (pattern.package,)
        if pattern.recursive:
            paths = self.packages(pattern.package)
            if not paths and not os.path.isdir(os.path.join(self.root, pattern.package)):
                raise InputError(
                    f"there is no folder `{pattern.package}` in the workspace",
                    hints=did_you_mean(pattern.package, list(self.packages(""))),
                )
        found: list[str] = []
        for path in paths:
            try:
                record = self.record(path, wanted=str(pattern))
            except InputError as error:
                self.fault(error)
                continue
            found += self.members(path) if files_too else record.targets
        if not found:
            self._say(f"`{text}` selects no target")
        return found

    def below(self, label: str) -> tuple[str, ...]:
        """Return what a label names: of a target, what it needs; of what a target makes, that.

        Raises InputError for what does not exist.
        """
        needs, known = self._needs[label], self._needs
        for need in needs:
            if need not in known:
                break
        else:
            return needs
        found = tuple(need for need in needs if need in known or self._explain(need, by=label))
        self._needs[label] = found
        return found

    def names(self, label: str) -> tuple[str, ...]:
        """Return what a label names, be it there or not."""
        return self._needs[label]

    def kind(self, label: str) -> str:
        """Return the kind of a label, such as `train rule` or `source file`."""
        return self._kinds.get(label, SOURCE)

    def is_rule(self, label: str) -> bool:
        """Say whether a label is that of a target."""
        return self.kind(label).endswith(" rule")

    def record(self, path: str, *, wanted: str = "", by: str = "") -> Record:
        """Return what is known of a package; raise InputError where it cannot be read."""
        known = self._kept.records.get(path)
        if known is not None:
            return known
        if path in self._broken:
            raise self._broken[path]
        try:
            record = self._reader.record(path, wanted=wanted, by=by)
        except InputError as error:
            self._broken[path] = error
            raise
        self._kept.records[path] = record
        self._grown = True
        self._enter(record)
        return record

    def packages(self, path: str = "") -> tuple[str, ...]:
        """Return the paths of all packages in and below a folder, sorted."""
        walks = self._kept.walks
        for start, (packages, folders) in walks.items():
            if start == path or (not start and path in folders):
                inside = f"{path}/" if path else ""
                return tuple(one for one in packages if one == path or one.startswith(inside))
        walks[path] = self._reader.walk(path)
        self._grown = True
        return walks[path][0]

    def members(self, path: str) -> list[str]:
        """Return all labels of a package, in their order.

        These are targets, what they make, groups, its BUILD.ml, and files that it names or exports.
        """
        record = self.record(path)
        found = set(record.needs)
        for label in record.named:
            try:
                if label in self._needs or self._explain(label, by="", keep_going=False):
                    found.add(label)
            except InputError:
                continue  # whoever needs it is told
        return sorted(found, key=order)

    def place(self, label: str) -> str:
        """Return where a label is declared: `models/BUILD.ml:3:1`; of a file, its beginning."""
        owner = self._needs[label][0] if self.kind(label) == GENERATED else label
        record = self._kept.records.get(package_of(owner))
        found = record.places.get(owner) if record is not None else None
        if record is None or found is None:
            return f"{path_of(label)}:1:1"
        file = f"{record.path}/{BUILD_FILE}" if record.path else BUILD_FILE
        return f"{file}:{found[0]}:{found[1]}"

    def enter_file(self, path: str) -> str:
        """Return the label of a BUILD.ml or .bzl file, which may lie in no package."""
        if path.startswith(RULES):
            label = path
        else:
            folder = os.path.dirname(path)
            while folder and not os.path.lexists(os.path.join(self.root, folder, BUILD_FILE)):
                folder = os.path.dirname(folder)
            if not folder and not os.path.lexists(os.path.join(self.root, BUILD_FILE)):
                folder = os.path.dirname(path)
            label = f"//{folder}:{path[len(folder) + 1 :] if folder else path}"
        self._needs.setdefault(label, ())
        return label

    def ensure(self, label: str, *, by: str = "") -> bool:
        """Say whether a label in full names something.

        Raises InputError where it does not, unless that is to be told only.
        """
        return label in self._needs or self._explain(label, by=by)

    def attributes(self) -> set[str]:
        """Return the names of all attributes of the rules that every BUILD.ml sees."""
        return self._reader.attributes()

    def fault(self, error: InputError) -> None:
        """Raise what is wrong, or tell of it, once, where the rest is wanted."""
        if self._fault is None:
            raise error
        if error not in self._told:
            self._told.append(error)
            self._fault(error)

    def keep(self) -> None:
        """Keep what was read for the next query."""
        if self._grown:
            if "_reader" in self.__dict__:
                self._kept.library.update(self._reader.library)
            kept.keep(self._workspace, self._kept, since=self._since)
            records = self._kept.records.values()
            keep_labels(self._workspace, [label for one in records for label in one.targets])

    @cached_property
    def _reader(self) -> Reads:
        return self._read()

    def _enter(self, record: Record) -> None:
        self._needs.update(record.needs)
        if not self._implicit:
            self._needs.update(record.explicit)
        self._kinds.update(record.kinds)

    def _only(self, label: str) -> list[str]:
        """Return the one label that a word names."""
        if not label.startswith(RULES):
            parse_label(label, package="")
        if label not in self._needs:
            try:
                self._explain(label, by="", keep_going=False)
            except InputError as error:
                self.fault(error)
                return []
        return [label]

    def _explain(self, label: str, *, by: str, keep_going: bool = True) -> bool:
        """Find out what a label is that no record tells; say whether it is anything.

        Raises InputError where it is nothing, unless that is to be told only.
        """
        try:
            if not label.startswith(RULES):
                self.record(package_of(label), wanted=label, by=by)
                if label in self._needs:
                    return True
                owner = self._maker(label)
                if owner:
                    self._needs[label], self._kinds[label] = (owner,), GENERATED
                    return True
            self._reader.source(label, by=by)
        except InputError as error:
            if not keep_going:
                raise
            self.fault(error)
            return False
        self._needs[label] = ()
        self._kept.sources.add(label)
        self._grown = True
        return True

    def _maker(self, label: str) -> str:
        """Return the target whose output `//package:target/path` names, "" for none."""
        at = label.find("/", label.find(":"))
        while at > 0:
            if self._kinds.get(label[:at], "").endswith(" rule"):
                return label[:at]
            at = label.find("/", at + 1)
        return ""

    def _below_package(self, text: str, package: str) -> str:
        """Return a relative path as a label where a folder above it is a package.

        As a shell completes it: `models/train.py` is `//models:train.py`.
        """
        if text.startswith(("/", ":", "@")) or ":" in text or text.endswith("..."):
            return text
        path = "/".join(part for part in (package, text) if part)
        folder = path
        while not os.path.lexists(os.path.join(self.root, folder, BUILD_FILE)):
            if not folder:
                return text
            folder = os.path.dirname(folder)
        if folder == path:
            return text
        return f"//{folder}:{path[len(folder) + 1 :] if folder else path}"
