"""`mlbuild version`: print the version."""

from mlbuild import __version__
from mlbuild.cli.options import Usage, Words
from mlbuild.cli.session import Screen

USAGE = Usage("version", "", "Print the version.", ())


def run(words: Words, screen: Screen) -> int:  # noqa: ARG001 - every command takes both
    """Print the version on stdout."""
    screen.out.lines([f"mlbuild {__version__}"])
    return 0
