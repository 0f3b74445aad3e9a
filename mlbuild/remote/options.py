"""Options: what stands in `[executors.NAME]`, checked by the kind that it is of."""

from collections.abc import Mapping
from typing import TypeVar

from mlbuild.errors import InputError, did_you_mean
from mlbuild.settings import described, listed
from mlbuild.settings_file import COMMON, NamedExecutor

T = TypeVar("T", str, int, bool)
_WANTED: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    bool: "`true` or `false`",
}


class Options:
    """The options of one table; each is asked for by name, then `close` refuses all others."""

    def __init__(self, named: NamedExecutor) -> None:
        self._named = named
        self._asked: list[str] = []

    def value(self, name: str, default: T) -> T:
        """Return an option, which is of the type of `default`."""
        self._asked.append(name)
        found = self._named.options.get(name, default)
        if type(found) is not type(default):
            raise self.fault(name, f"takes {_WANTED[type(default)]}, not {described(found)}")
        return found

    def number(self, name: str, default: int, *, least: int) -> int:
        """Return a number that is at least `least`."""
        found = self.value(name, default)
        if name in self._named.options and found < least:
            raise self.fault(name, f"is at least {least}, not {found}")
        return found

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return one of `choices`, the first where nothing is said."""
        found = self.value(name, choices[0])
        if found not in choices:
            raise self.fault(name, f"is {listed(choices, 'or')}, not `{found}`")
        return found

    def needed(self, name: str, example: str) -> str:
        """Return a text that must be there."""
        found = self.value(name, "")
        if not found:
            close = [one for one in self._named.options if did_you_mean(one, (name,))]
            typed = close[0] if close else ""
            raise InputError(
                f"`executors.{self._named.name}` lacks its `{name}`",
                span=self._named.spans[typed],
                hints=did_you_mean(typed, (name,)) if typed else (f'write `{name} = "{example}"`',),
            )
        return found

    def several(self, name: str, default: object) -> object:
        """Return an option that holds more than one value as it stands: a table or a list."""
        self._asked.append(name)
        return self._named.options.get(name, default)

    def close(self) -> None:
        """Refuse what nobody asked for."""
        for name in self._named.options:
            if name not in self._asked:
                raise InputError(
                    f"`{name}` is no key of an executor of the kind `{self._named.kind}`",
                    span=self._named.spans.get(name),
                    hints=did_you_mean(name, (*self._asked, *COMMON))
                    or (f"its keys are {listed(('kind', *self._asked, *COMMON))}",),
                )

    def fault(self, name: str, what: str) -> InputError:
        """Return what is to be raised for an option that cannot be meant."""
        return InputError(
            f"`executors.{self._named.name}.{name}` {what}", span=self._named.spans.get(name)
        )
