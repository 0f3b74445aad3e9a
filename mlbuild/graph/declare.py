"""Declaring targets: what the call of a rule in a BUILD.ml does."""

from typing import Any

from mlbuild import lang
from mlbuild.core.label import Label, valid_name
from mlbuild.errors import InputError, Span, did_you_mean
from mlbuild.graph.package import Package, Target
from mlbuild.graph.schema import CACHES, OUTPUTS, AttributeFault, Rule
from mlbuild.graph.select import Select
from mlbuild.graph.site import Site, strings
from mlbuild.graph.visibility import parse_visibility


class RuleValue(lang.Value):
    """A rule as files see it: its call declares a target."""

    type_name = "rule"
    __slots__ = ("made", "rule", "site")

    def __init__(self, rule: Rule, site: Site, *, made: Span | None) -> None:
        self.rule = rule
        self.site = site
        self.made = made  # where rule() was called

    def __repr__(self) -> str:
        return f"<rule {self.rule.name}>" if self.rule.name else "<rule>"

    def __call__(self, /, *args: Any, **given: Any) -> None:
        """Declare a target of the package that is being read."""
        package = self.site.here(f"rule `{self.rule.name}`")
        frames = lang.call_stack()
        if args:
            raise InputError(
                f"rule `{self.rule.name}` takes its attributes by name",
                span=self.site.place(frames),
                hints=(f'write `{self.rule.name}(name = "…", …)`',),
            )
        name = given.get("name")  # which is taken out
        try:
            package.add(_target(self.rule, given, package, frames))
        except AttributeFault as error:
            error.span = self.site.place_of(error.attribute, frames, keyword=True)
            if error.span.path != frames[0][1].path:
                error.notes = (f"called at {frames[0][1]} in `{frames[0][0]}`",)
            if self.site.on_fault is None:
                raise
            self._leave_out(name, given, error, frames)
        except InputError as error:
            error.span = error.span or self.site.place(frames)
            if self.site.on_fault is None:
                raise
            self._leave_out(name, given, error, frames)

    def _leave_out(
        self,
        name: Any,
        given: dict[str, Any],
        error: InputError,
        frames: tuple[tuple[str, Span], ...],
    ) -> None:
        """Tell of `error`, and note what the package lacks without the target."""
        assert self.site.package is not None
        assert self.site.on_fault is not None
        if type(name) is str:
            self.site.package.broken.update((name, *_outputs(self.rule, given)))
        else:
            self.site.package.whole = False
        error.kind = error.kind or "wrong-attribute"
        error.notes += tuple(
            f"called at {span}" + ("" if caller == "the file" else f" in `{caller}`")
            for caller, span in frames[1:]
        )
        self.site.on_fault(error)


def _outputs(rule: Rule, given: dict[str, Any]) -> list[str]:
    """Return the outputs that are named in `given`, as far as it is right."""
    found: list[str] = []
    for name, attribute in rule.attributes.items():
        if attribute.type in OUTPUTS and name in given and not isinstance(given[name], Select):
            value = lang.to_python(given[name])
            paths = value if type(value) is list else [value]
            found += [one for one in paths if type(one) is str]
    return found


def _target(
    rule: Rule, given: dict[str, Any], package: Package, frames: tuple[tuple[str, Span], ...]
) -> Target:
    name = given.pop("name", None)
    written = tuple([key for key, value in given.items() if value is not None])
    if isinstance(name, Select):
        raise _fixed("name")
    if not isinstance(name, str) or not name:
        raise InputError(f"rule `{rule.name}` needs a `name`, which is a string")
    if not valid_name(name):
        raise AttributeFault(f"`{name}` cannot be the name of a target", attribute="name")
    visibility = _texts(given, "visibility")
    tags = _texts(given, "tags")
    licenses = _texts(given, "licenses")
    cache = _cache(given)
    return Target(
        Label(package.path, name),
        rule,
        rule.read(given),
        (*package.tags, *tags) if tags else package.tags,
        frames[-1][1],
        frames[:-1],
        package.visibility if visibility is None else _seen_by(visibility, package=package.path),
        package.licenses if licenses is None else tuple(licenses),
        written,
        tuple([key for key, value in given.items() if isinstance(value, Select)]),
        cache,
    )


def _cache(given: dict[str, Any]) -> str:
    """Take the attribute `cache` out of `given`; "" where there is none."""
    value = given.pop("cache", None)
    if isinstance(value, Select):
        raise _fixed("cache")
    if value is not None and value not in CACHES:
        raise AttributeFault(
            f"attribute `cache` cannot be {lang.repr_of(value)[:60]}",
            hints=(
                *(did_you_mean(value, CACHES) if isinstance(value, str) else ()),
                'it is "shared" (with the team), "result" (but for the bytes), "local" or "off"',
            ),
            attribute="cache",
        )
    return value or ""


def _texts(given: dict[str, Any], attribute: str) -> list[str] | None:
    """Take a common attribute out of `given`: a list of strings, or None where there is none."""
    value = given.pop(attribute, None)
    if value is None:
        return None
    if isinstance(value, Select):
        raise _fixed(attribute)
    try:
        return strings(value, f"attribute `{attribute}`")
    except InputError as error:
        raise AttributeFault(error.message, hints=error.hints, attribute=attribute) from None


def _seen_by(visibility: list[str], *, package: str) -> tuple[str, ...]:
    try:
        return parse_visibility(visibility, package=package)
    except InputError as error:
        raise AttributeFault(error.message, hints=error.hints, attribute="visibility") from None


def _fixed(attribute: str) -> AttributeFault:
    return AttributeFault(
        f"attribute `{attribute}` cannot be a select: it is needed before flags are looked at",
        attribute=attribute,
    )
