"""Installs the packages of a canonical lock as a tree that is a pure function of their wheels.

usage: install.py --uv UV --python PYTHON --requirements FILE --out DIR

uv downloads, checks every hash and unpacks. Then all that tells when, where and by whom is removed
(installer notes, paths of interpreters), and bytecode is compiled, so that scripts start fast from
a read-only tree and two installations anywhere are equal byte by byte.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import base64
import csv
import hashlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator

PREFIX = "/environment"  # stands for DIR in bytecode; Python puts the true path in when it loads it
NOTES = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json")
SHEBANG = b"#!/usr/bin/env python3\n"
# How launchers begin: `#!/where/it/is/python`, or a line of shell where that is too long.
PYTHON_SHEBANG = re.compile(
    rb"\A#!(?:/bin/sh\n'''exec' .*\n' '''\n|[^\n]*python[^\n]*\n)",
)
# Settings of uv that say where packages come from and how. Others, such as overrides, could change
# what is installed; that the lock alone decides.
HARMLESS = re.compile(
    r"UV_(CACHE_DIR|OFFLINE|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|KEYRING_PROVIDER|REQUEST_TIMEOUT"
    r"|FIND_LINKS|(DEFAULT_|EXTRA_)?INDEX(_URL|_STRATEGY|_\w+_(USERNAME|PASSWORD))?"
    r"|HTTP_\w+|CONCURRENT_\w+|NETRC|CREDENTIALS_DIR)"
)
UV = (
    *("pip", "install", "--no-config", "--no-progress", "--color", "never"),
    *("--require-hashes", "--no-deps", "--no-build", "--no-compile-bytecode"),
    *("--link-mode", "copy"),
)
# What uv says, and what it means: the first that is found serves.
REASONS = (
    ("hash mismatch", "a downloaded package is not the one that the lock names"),
    ("failed to fetch", "a package index cannot be reached"),
    ("error sending request", "a package index cannot be reached"),
    ("connectivity is disabled", "a package is not in uv's cache, and uv works offline"),
    ("no wheels with a matching", "a package has no wheel for this platform and Python"),
    ("no usable wheels", "a package has no wheel for this platform and Python"),
    ("building source distributions is disabled", "a package has no wheel, only its source"),
    ("does not satisfy python", "a package does not support this version of Python"),
    ("was not found in the", "a package is not in the package index"),
    ("there is no version of", "a locked version is not in the package index"),
    ("no space left", "the disk is full"),
)


def main() -> None:
    """Install, clean, compile."""
    if sys.argv[1:2] == ["--compile"]:
        compile_tree(sys.argv[2])
        return
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    try:
        uv, python = options["--uv"], options["--python"]
        requirements, out = options["--requirements"], options["--out"].rstrip("/")
    except KeyError:
        sys.exit("usage: install.py --uv UV --python PYTHON --requirements FILE --out DIR")
    os.makedirs(out, exist_ok=True)
    install(uv, python, requirements, out)
    clean(out)
    # A fresh process with a fixed hash seed: the order of constants in bytecode depends on it.
    # One only: what a process has compiled before can reach what it writes next.
    environment = variables() | {"PYTHONHASHSEED": "0"}
    command = [python, "-S", "-s", "-P", "-B", __file__, "--compile", out]
    subprocess.run(command, env=environment, check=True)


def install(uv: str, python: str, requirements: str, out: str) -> None:
    """Let uv unpack the wheels into `out`; if it cannot, end with a sentence and uv's own words."""
    if os.path.getsize(requirements) == 0:
        return
    command = [uv, *UV, "--python", python, "--target", out, "--requirements", requirements]
    done = subprocess.run(
        command, env=variables(), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        sys.exit(f"{reason(said)}\n{said}")


def variables() -> dict[str, str]:
    """Return our own variables without those that could change what uv installs."""
    return {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - a program of its own
        if not name.startswith("UV_") or HARMLESS.fullmatch(name)
    }


def reason(said: str) -> str:
    """Return in one sentence why uv failed."""
    folded = " ".join(said.lower().split())
    return next(
        (sentence for words, sentence in REASONS if words in folded),
        "uv could not install the packages",
    )


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
                dfile=PREFIX + path.removeprefix(out),
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
