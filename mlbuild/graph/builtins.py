"""The functions that BUILD.ml and .bzl files see besides rules, and rule() itself."""

import os
from typing import Any

from mlbuild import lang
from mlbuild.core.label import Label, valid_name
from mlbuild.errors import InputError, did_you_mean
from mlbuild.graph.attr import ATTR, AttributeValue, rooted
from mlbuild.graph.declare import RuleValue
from mlbuild.graph.files import names_in
from mlbuild.graph.glob import glob
from mlbuild.graph.package import Package
from mlbuild.graph.schema import COMMON, Rule
from mlbuild.graph.select import select
from mlbuild.graph.site import RULES, Site, strings
from mlbuild.graph.visibility import EVERYONE, PackageGroup, parse_packages, parse_visibility


class Builtins:
    """Functions that work on the file that `site` says is being read.

    `build` are those of BUILD.ml files; .bzl files have them too, for functions that a BUILD.ml
    calls. `rules` are the rules that were made, in order.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self.rules: list[RuleValue] = []
        functions = (
            ("exports_files", self._exports_files),
            ("glob", self._glob),
            ("licenses", self._licenses),
            ("package", self._package),
            ("package_group", self._package_group),
            ("package_name", self._package_name),
            ("rule", self._rule),
            ("select", select),
        )
        self.build: dict[str, Any] = {
            "attr": ATTR,
            **{name: lang.builtin(name, function) for name, function in functions},
        }

    def _glob(self, include: Any, exclude: Any = (), allow_empty: Any = None) -> Any:
        package = self._site.here("glob")
        wanted, unwanted = strings(include, "glob"), strings(exclude, "`exclude`")
        found = glob(
            self._site.files,
            package.path,
            include=wanted,
            exclude=unwanted,
            listed=self._site.listed.add,
        )
        if not found and not allow_empty:
            raise InputError(
                f"glob({lang.repr_of(lang.from_python(wanted))}) matches no file "
                f"in package `//{package.path}`",
                hints=("write `allow_empty = True` where that may be",),
            )
        return lang.from_python(found)

    def _package(
        self, *, default_visibility: Any = None, licenses: Any = None, tags: Any = None
    ) -> None:
        package = self._site.here("package")
        if package.said is not None:
            raise InputError(
                f"package() is called twice in package `//{package.path}`",
                notes=(f"the first one stands at {package.said}",),
            )
        if package.targets or package.groups or package.exports or package.licenses:
            raise InputError(
                "package() must stand before everything that is declared",
                hints=("move it to the top of the file, after the loads",),
            )
        package.said = lang.call_span()
        if default_visibility is not None:
            given = strings(default_visibility, "`default_visibility`")
            package.visibility = parse_visibility(given, package=package.path)
        if licenses is not None:
            package.licenses = tuple(strings(licenses, "`licenses`"))
        if tags is not None:
            package.tags = tuple(strings(tags, "`tags`"))

    def _licenses(self, licenses: Any) -> None:
        package = self._site.here("licenses")
        if package.targets:
            raise InputError("licenses() must stand before the first target that it is for")
        package.licenses = tuple(strings(licenses, "licenses"))

    def _exports_files(self, srcs: Any, visibility: Any = None) -> None:
        package = self._site.here("exports_files")
        names = strings(srcs, "exports_files")
        seen_by = EVERYONE
        if visibility is not None:
            given = strings(visibility, "`visibility`")
            seen_by = parse_visibility(given, package=package.path)
        for name in names:
            self._check_file(name, package)
        package.export(names, seen_by)

    def _check_file(self, name: str, package: Package) -> None:
        """Refuse what is no file or folder of the package."""
        if not valid_name(name):
            raise InputError(
                f"`{name}` cannot be exported", hints=("name files relative to the package",)
            )
        above = "/".join(part for part in (package.path, os.path.dirname(name)) if part)
        self._site.listed.add(above)
        base = os.path.basename(name)
        if not self._site.files.exists(f"{above}/{base}" if above else base):
            raise InputError(
                f"there is no file `{name}` to export in package `//{package.path}`",
                hints=did_you_mean(base, names_in(self._site.files, above)),
            )

    def _package_group(self, *, name: Any, packages: Any = (), includes: Any = ()) -> None:
        package = self._site.here("package_group")
        if type(name) is not str or not valid_name(name):
            raise InputError(f"{lang.repr_of(name)} cannot be the name of a package group")
        span = lang.call_stack()[-1][1]
        package.add_group(
            PackageGroup(
                Label(package.path, name),
                parse_packages(strings(packages, "`packages`")),
                parse_visibility(strings(includes, "`includes`"), package=package.path),
                span,
            )
        )

    def _package_name(self) -> str:
        return self._site.here("package_name").path

    def _rule(self, implementation: Any, attrs: Any = None, doc: Any = "") -> RuleValue:
        path = self._site.in_file("rule()")
        if not isinstance(implementation, lang.Function):
            raise InputError(
                f"the implementation of a rule is a function of ctx, "
                f"not {lang.repr_of(implementation)[:60]}"
            )
        if type(doc) is not str:
            raise InputError(f"`doc` is a string, not {lang.repr_of(doc)[:60]}")
        if attrs is not None and not isinstance(attrs, lang.Dict):
            raise InputError("`attrs` is a dict of names to attr.string(), attr.label(), …")
        trusted = path.startswith(RULES)
        folder = "" if trusted else path.rpartition("/")[0]
        root = f"{RULES}{folder}" if trusted else f"//{folder}"
        attributes = {}
        for name, value in attrs.items() if attrs is not None else ():
            _check_attribute(name, value)
            attributes[name] = rooted(value.schema, folder=root)
        made = RuleValue(
            Rule(attributes, implementation, doc, path), self._site, made=lang.call_span()
        )
        self.rules.append(made)
        return made


def _check_attribute(name: Any, value: Any) -> None:
    if type(name) is not str or not name.isidentifier():
        raise InputError(
            f"{lang.repr_of(name)} cannot be the name of an attribute",
            hints=("a name has letters, digits and `_`",),
        )
    if name in COMMON:
        raise InputError(f"attribute `{name}` need not be declared: every rule has it")
    if not isinstance(value, AttributeValue):
        raise InputError(
            f"attribute `{name}` is not an attribute",
            hints=("write it with attr.string(), attr.label(), …",),
        )
    if name.startswith("_") and value.schema.mandatory:
        raise InputError(
            f"attribute `{name}` cannot be mandatory: nobody can give it",
            hints=("an attribute that starts with `_` has a default and no other value",),
        )
