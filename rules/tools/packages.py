"""Makes of an unpacked wheel a tree that is a pure function of it, with its bytecode.

All that tells when, where and by whom it was unpacked is removed (installer notes, paths of
interpreters), and bytecode is compiled, so that scripts start fast from a read-only tree and two
installations anywhere are equal byte by byte.
"""
# ruff: noqa: INP001 - read by install.py and build.py, and a program of its own

import base64
import csv
import hashlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping

PREFIX = "/environment"  # stands for DIR in bytecode; Python puts the true path in when it loads it
NOTES = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")
SHEBANG = b"#!/usr/bin/env python3\n"
# How launchers begin: `#!/where/it/is/python`, or a line of shell where that is too long.
PYTHON_SHEBANG = re.compile(
    rb"\A#!(?:/bin/sh\n'''exec' .*\n' '''\n|[^\n]*python[^\n]*\n)",
)


def main() -> None:
    """Compile the modules below a folder; of two, copy the first to the second before."""
    if len(sys.argv) > 2:  # noqa: PLR2004 - our own name and two words
        import shutil  # noqa: PLC0415 - rarely needed

        source, to = sys.argv[1:]
        shutil.copytree(source, to, symlinks=True, dirs_exist_ok=True, copy_function=shutil.copy)
        for folder, _, _ in os.walk(to):
            os.chmod(folder, 0o755)  # noqa: S103 - that of an input is read-only
    compile_tree(sys.argv[-1])


def compiling(out: str, python: str, variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Return the process that compiles the modules below `out`.

    A fresh one with a fixed hash seed: the order of constants in bytecode depends on it. And one
    for each wheel: what a process has compiled before can reach what it writes next.
    """
    # Not -P, which came with 3.11: the folder of this file is on the path, and harms nothing.
    command = [python, "-S", "-s", "-B", os.path.abspath(__file__), out]
    return subprocess.Popen(command, env={**variables, "PYTHONHASHSEED": "0"})


def clean(out: str) -> None:
    """Remove from `out` whatever does not come from the wheels."""
    for name in (".lock", ".gitignore", "CACHEDIR.TAG"):
        remove(os.path.join(out, name))
    scripts = os.path.join(out, "bin")
    for name in os.listdir(scripts) if os.path.isdir(scripts) else ():
        rewrite_shebang(os.path.join(scripts, name))
    for name in sorted(os.listdir(out)):
        if name.endswith(".dist-info"):
            for note in NOTES:
                remove(os.path.join(out, name, note))
            rewrite_record(out, f"{name}/RECORD")


def remove(path: str) -> None:
    """Remove a file that may not be there."""
    if os.path.lexists(path):
        os.remove(path)


def rewrite_shebang(path: str) -> None:
    """Let a launcher find Python by its name."""
    if os.path.islink(path) or not os.path.isfile(path):
        return
    with open(path, "r+b") as file:
        if file.read(2) != b"#!":
            return  # a compiled program
        file.seek(0)
        content = file.read()
        file.seek(0)
        file.write(PYTHON_SHEBANG.sub(SHEBANG, content))
        file.truncate()


def rewrite_record(out: str, record: str) -> None:
    """List the files of a package as they are now, sorted."""
    place = os.path.join(out, record)
    if not os.path.isfile(place):
        return
    with open(place, encoding="utf-8", newline="") as file:
        listed = sorted({row[0] for row in csv.reader(file) if row})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for path in listed:
        if path == record:
            writer.writerow([path, "", ""])
        elif os.path.isfile(os.path.join(out, path)):
            writer.writerow([path, *fingerprint(os.path.join(out, path))])
    with open(place, "w", encoding="utf-8", newline="") as file:
        file.write(text.getvalue())


def fingerprint(path: str) -> tuple[str, str]:
    """Return hash and size as a RECORD has them."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return (
        f"sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}",
        str(os.path.getsize(path)),
    )


def compile_tree(out: str) -> None:
    """Compile every module below `out`; what is no valid Python (a template, a test) is left."""
    import py_compile  # noqa: PLC0415 - only the process that compiles needs it
    import warnings  # noqa: PLC0415 - likewise

    warnings.simplefilter("ignore")
    for path in modules(out):
        try:
            py_compile.compile(
                path,
                dfile=PREFIX + path[len(out) :],
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except (py_compile.PyCompileError, SyntaxError, UnicodeError, RecursionError):
            continue


def modules(folder: str) -> Iterator[str]:
    """Yield the paths of all modules below `folder`, sorted."""
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.islink(path):
            continue
        if os.path.isdir(path):
            yield from modules(path)
        elif name.endswith(".py"):
            yield path


if __name__ == "__main__":
    main()
