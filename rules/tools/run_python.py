"""Runs a user's script with the packages of an environment.

usage: run_python.py SITE_TREE|- SCRIPT ARGS...

The script sees what `python SCRIPT ARGS...` would show it in a virtual environment that holds the
packages of SITE_TREE, with the working directory importable too; nothing of the host's packages.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import os
import sys
from types import ModuleType, TracebackType

# No packages of the host, no working directory by accident, no bytecode files. `-I` is too much:
# it would ignore PYTHONHASHSEED, and the order of a script's sets would change from run to run.
FLAGS = ("-S", "-s", "-P", "-B")


def main() -> None:
    """Prepare what the script is to see, then become it."""
    if len(sys.argv) < 3:  # noqa: PLR2004 - two words must follow our own
        sys.exit("usage: run_python.py SITE_TREE|- SCRIPT ARGS...")
    if sys.flags.ignore_environment or not (sys.flags.no_site and sys.flags.safe_path):
        os.execv(sys.executable, [sys.executable, *FLAGS, *sys.argv])  # noqa: S606 - as above
    site_tree, script, *args = sys.argv[1:]
    packages = "" if site_tree == "-" else os.path.abspath(site_tree)
    share_with_children(packages)
    import_from(os.path.dirname(os.path.abspath(script)), packages)
    sys.argv = [script, *args]
    run(script)


def share_with_children(packages: str) -> None:
    """Let programs that the script starts find its packages, their commands and its Python."""
    variables = os.environ  # noqa: TID251 - a program of its own: nothing else hands it down
    folders = [os.getcwd(), packages, variables.get("PYTHONPATH", "")]
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    commands = [f"{packages}/bin" if packages else "", os.path.dirname(sys.executable)]
    variables["PATH"] = os.pathsep.join(
        [*filter(None, commands), variables.get("PATH", os.defpath)]
    )


def import_from(folder: str, packages: str) -> None:
    """Set the import path: the script's folder, the workspace, the library, the packages."""
    import site  # noqa: PLC0415 - imported late: it must not run by itself (-S)

    sys.path[:0] = list(dict.fromkeys([folder, os.getcwd()]))
    if packages:
        site.addsitedir(packages)
    # What `site` gives every script when Python starts it.
    site.setquit()
    site.setcopyright()
    site.sethelper()


def run(script: str) -> None:
    """Run `script` as `__main__`. Its tracebacks begin with its own lines, not with ours."""
    try:
        with open(script, "rb") as file:
            source = file.read()
    except OSError as error:
        sys.exit(f"cannot read `{script}`: {error.strerror}")
    module = ModuleType("__main__")
    module.__file__ = os.path.abspath(script)
    sys.modules["__main__"] = module
    try:
        code = compile(source, script, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        report(error, None)
    try:
        exec(code, vars(module))  # noqa: S102 - this is the purpose
    except Exception as error:  # noqa: BLE001 - whatever the script lets through
        traceback = error.__traceback__
        report(error, traceback.tb_next if traceback else None)


def report(error: Exception, traceback: TracebackType | None) -> None:
    """Show `error` as Python would, and end with its exit code."""
    sys.stdout.flush()
    sys.excepthook(type(error), error.with_traceback(traceback), traceback)
    sys.exit(1)


if __name__ == "__main__":
    main()
