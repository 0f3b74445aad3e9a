"""Copies several trees into one; where two have one path, the later tree's counts.

usage: merge.py OUT TREE…
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import os
import shutil
import sys


def main() -> None:
    """Copy."""
    out, *trees = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    for tree in trees:
        for folder, folders, files in os.walk(tree):
            to = out + folder.removeprefix(tree)
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            os.makedirs(to, exist_ok=True)  # with our modes: inputs are read-only
            for name in (*files, *links):
                copy(os.path.join(folder, name), os.path.join(to, name))


def copy(source: str, to: str) -> None:
    """Copy a file or symlink and whether it can be executed, nothing else."""
    if os.path.lexists(to):
        os.remove(to)
    shutil.copyfile(source, to, follow_symlinks=False)
    if not os.path.islink(source) and os.access(source, os.X_OK):
        os.chmod(to, 0o755)  # noqa: S103 - a program's mode


if __name__ == "__main__":
    main()
