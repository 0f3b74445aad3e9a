"""Reading BUILD.ml and .bzl files: each at most once, none that is not needed."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlbuild import lang
from mlbuild.core.digest import digest_of
from mlbuild.core.label import parse_label
from mlbuild.errors import InputError, Span, did_you_mean
from mlbuild.graph.builtins import Builtins
from mlbuild.graph.declare import RuleValue
from mlbuild.graph.files import Disk, Files, names_in, read_source
from mlbuild.graph.glob import BUILD_FILE, SKIPPED
from mlbuild.graph.package import Package
from mlbuild.graph.schema import Rule
from mlbuild.graph.site import RULES, Site
from mlbuild.state import keep
from mlbuild.workspace import Workspace

PRELUDE = "@rules//prelude.bzl"


@dataclass(slots=True)
class Seen:
    """What the graph was read from: while none of it changes, neither does the graph."""

    files: set[str] = field(default_factory=set)  # absolute paths
    folders: set[str] = field(default_factory=set)  # workspace-relative, by listing


class Loader:
    """Packages by path, modules by label text.

    Compiled files are kept in the folder `code`. It belongs to the user and not to the workspace:
    what lies there is executed. `say` receives what `print` says in files. `files` are read instead
    of those on the disk.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        code: str,
        say: Callable[[str], None],
        files: Files | None = None,
    ) -> None:
        self._root = workspace.root
        self.files: Files = files or Disk(workspace.root)
        self._rules_root = workspace.rules_root()
        self._code = code
        self._say = say
        self._packages: dict[str, Package] = {}
        self._modules: dict[str, lang.Module] = {}
        self._loads: dict[str, dict[str, None]] = {}
        self._prelude: Mapping[str, Any] | None = None
        self.site = Site(self.files, workspace.rules_root())
        self.seen = Seen(folders=self.site.listed)
        self._builtins = Builtins(self.site)

    def rules(self) -> dict[str, Rule]:
        """Return the rules that every BUILD.ml sees without a load, by name."""
        prelude = self.prelude()
        return {name: one.rule for name, one in prelude.items() if isinstance(one, RuleValue)}

    def prelude(self) -> Mapping[str, Any]:
        """Return the rules and functions that every BUILD.ml sees without a load."""
        if self._prelude is None:
            self._prelude = {}  # the prelude itself sees none
            module = self.module(PRELUDE, None, package="")
            self._prelude = {
                name: value for name, value in module.globals.items() if not name.startswith("_")
            }
        return self._prelude

    @property
    def packages(self) -> Mapping[str, Package]:
        """The packages that have been read, by path."""
        return self._packages

    def loaded(self, file: str) -> list[str]:
        """Return the shown names of all .bzl files that `file` loads, and that they load.

        The prelude is left out: every file has it.
        """
        found: dict[str, None] = {}
        pending = [file]
        while pending:
            fresh = [one for one in self._loads.get(pending.pop(), ()) if one not in found]
            found.update(dict.fromkeys(fresh))
            pending += fresh
        return list(found)

    def has_package(self, path: str) -> bool:
        """Say whether the folder `path` holds a BUILD.ml."""
        return path in self._packages or self.files.exists(_joined(path, BUILD_FILE))

    def package(self, path: str, *, span: Span | None = None, wanted: str = "") -> Package:
        """Return the package of a folder; `span` and `wanted` tell who asks and for what."""
        found = self._packages.get(path)
        if found is None:
            if not self.has_package(path):
                raise self._no_package(path, span=span, wanted=wanted)
            found = self._evaluate(path)
            self._packages[path] = found
        return found

    def packages_below(self, path: str) -> list[str]:
        """Return the paths of all packages in and below the folder `path`, sorted."""
        found: list[str] = []
        pending = [path]
        while pending:
            here = pending.pop()
            self.seen.folders.add(here)
            listing = dict(self.files.entries(here))
            if here and "mlbuild.toml" in listing:
                continue  # a workspace of its own
            if BUILD_FILE in listing:
                found.append(here)
            pending += [
                _joined(here, name)
                for name, is_folder in listing.items()
                if is_folder and name not in SKIPPED and not name.startswith(".")
            ]
        return sorted(found)

    def listed(self, folder: str) -> None:
        """Note that the graph depends on the listing of a workspace folder."""
        self.seen.folders.add(folder)

    def _no_package(self, path: str, *, span: Span | None, wanted: str) -> InputError:
        known = self.packages_below("")
        hints = did_you_mean(path, known)
        if self.files.is_folder(path):
            hints = (*hints, f"create {_joined(path, BUILD_FILE)} to make the folder a package")
        elif known and not hints:
            hints = ("packages are: " + ", ".join(f"//{one}" for one in known[:8]),)
        asked = f", which `{wanted}` names" if wanted else ""
        return InputError(
            f"there is no package `//{path}`{asked}", span=span, hints=hints, kind="unknown-package"
        )

    def _evaluate(self, path: str) -> Package:
        file = _joined(path, BUILD_FILE)
        source = self.files.read(file)
        self.seen.files.add(os.path.join(self._root, file))
        return self._run(self._compiled(source, file, dialect=lang.Dialect.BUILD), path)

    def _run(self, program: lang.Program, path: str) -> Package:
        """Return what the BUILD.ml of the folder `path` declares."""
        package = Package(path, program.path)
        outer, self.site.package = self.site.package, package
        try:
            lang.execute(
                program,
                predeclared={**self.prelude(), **self._builtins.build},
                load=lambda text, span: self.module(text, span, package=path),
                print=self._say,
            )
        finally:
            self.site.package = outer
        return package

    def module(self, text: str, span: Span | None, *, package: str) -> lang.Module:
        """Return the module that `load(text)` names as seen from `package`, evaluated once."""
        path, shown = self._module_path(text, span, package=package)
        if span is not None:
            self._loads.setdefault(span.path, {})[shown] = None
        found = self._modules.get(shown)
        if found is not None:
            return found
        loading = self.site.loading
        if shown in loading:
            cycle = [*loading[loading.index(shown) :], shown]
            raise InputError("load cycle: " + " → ".join(cycle), span=span, kind="bad-load")
        trusted = shown.startswith(RULES)
        if trusted:
            source = read_source(path, shown=shown, span=span)
        else:
            source = self.files.read(shown, span=span)
        self.seen.files.add(path)
        rules = {} if trusted else self.prelude()
        made = len(self._builtins.rules)
        loading.append(shown)
        try:
            folder = shown.rpartition("/")[0] if not trusted else RULES
            module = lang.execute(
                self._compiled(source, shown, dialect=lang.Dialect.BZL),
                predeclared={**rules, **self._builtins.build},
                load=lambda text, span: self.module(text, span, package=folder),
                print=self._say,
            )
        finally:
            loading.pop()
        for name, value in module.globals.items():
            if isinstance(value, RuleValue) and not value.rule.name:
                value.rule.name = name
        for one in self._builtins.rules[made:]:
            if not one.rule.name:
                raise InputError(
                    "a rule that is made here is not assigned to a name",
                    span=one.made,
                    hints=("write `my_rule = rule(…)` at the top level: that is its name",),
                )
        self._modules[shown] = module
        return module

    def _module_path(self, text: str, span: Span | None, *, package: str) -> tuple[str, str]:
        """Return the absolute path of a loaded file, and the name that it goes by in messages."""
        if not text.endswith(".bzl"):
            raise InputError(
                f"`{text}` cannot be loaded: only .bzl files can",
                span=span,
                hints=('write `load("//tools:defs.bzl", "name")`',),
            )
        if text.startswith(RULES) or package == RULES:
            name = text.removeprefix(RULES).lstrip("/:").replace(":", "/")
            if any(part in {"", ".", ".."} for part in name.split("/")):
                raise InputError(f"`{text}` is not a file of @rules", span=span)
            path = os.path.join(self._rules_root, name)
            if not os.path.isfile(path):
                have = [
                    f"{RULES}{one}" for one in os.listdir(self._rules_root) if one.endswith(".bzl")
                ]
                raise InputError(
                    f"there is no file `{text}`", span=span, hints=did_you_mean(text, have)
                )
            return path, RULES + name
        label = parse_label(text, package=package, span=span)
        file = _joined(label.package, label.name)
        if not self.files.exists(file):
            names = names_in(self.files, os.path.dirname(file))
            raise InputError(
                f"there is no file `{file}` to load",
                span=span,
                hints=did_you_mean(
                    os.path.basename(file), [n for n in names if n.endswith(".bzl")]
                ),
            )
        return os.path.join(self._root, file), file

    def _compiled(self, source: bytes, path: str, *, dialect: lang.Dialect) -> lang.Program:
        """Return the compiled form of a file, the kept one when its bytes are known."""
        name = digest_of(
            b"%b\0%b\0%b" % (lang.VERSION.encode(), os.fsencode(f"{dialect.name} {path}"), source)
        ).hash
        place = os.path.join(self._code, name)
        try:
            with open(place, "rb") as file:
                program = lang.program_from(file.read())
        except (OSError, ValueError, EOFError, TypeError, InputError):
            program = None  # absent or damaged
        if program is None:
            program = lang.compile_file(source, path, dialect=dialect)
            keep(place, lang.program_bytes(program))
        return program


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
