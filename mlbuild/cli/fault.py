"""Fault: shows an exception that nothing expected: a host in trouble, or a mistake of ours."""

import errno
import os
import sys
import time
import traceback

from mlbuild import __version__
from mlbuild.cli.session import Screen
from mlbuild.errors import HostError, MlbuildError
from mlbuild.ui.diagnose import error_lines
from mlbuild.ui.text import clean
from mlbuild.workspace import STATE

OUR_FAULT = 37
_HOST = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN),
}


def show_fault(error: Exception, argv: list[str], screen: Screen) -> int:
    """Tell of `error` on stderr; return the exit code.

    The details go to a file of the workspace, to stderr where there is none.
    """
    if isinstance(error, OSError) and error.errno in _HOST:
        where = f": `{os.fsdecode(error.filename)}`" if error.filename else ""
        host = HostError(f"{os.strerror(error.errno).lower()}{where}")
        screen.err.lines(error_lines(host, screen.place))
        return host.exit_code
    text = "".join(traceback.format_exception(error))
    path = _kept(f"mlbuild {__version__} {argv!r}\nPython {sys.version}\n\n{text}", screen.root)
    sentence = str(error).partition("\n")[0]
    fault = MlbuildError(
        f"mlbuild made a mistake: {type(error).__name__}: {sentence}".rstrip(": "),
        hints=("please report it in mlbuild's issue tracker, with what is in that file",)
        if path
        else ("please report it in mlbuild's issue tracker, with what stands above",),
        notes=(f"the details are in `{path}`",) if path else (),
    )
    if not path:
        screen.err.lines([clean(line) for line in text.splitlines()])
    screen.err.lines(error_lines(fault, screen.place))
    return OUR_FAULT


def _kept(text: str, root: str) -> str:
    """Write the details of a fault to a file of the workspace; return its path, "" without one."""
    if not root:
        return ""
    folder = os.path.join(root, STATE, "faults")
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{os.getpid()}.txt"
    path = os.path.join(folder, name)
    try:
        os.makedirs(folder, exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return ""
    return path
