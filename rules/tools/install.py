"""Installs packages, each as a tree that is a pure function of its wheel, or all of a loose list.

usage: install.py --uv UV --python PYTHON --list FILE --out DIR [--whole] [--like FILE]

Every line of FILE is a pinned package with its hashes, as lock.py writes them. The wheel of line n
is unpacked to DIR/n: uv downloads, checks every hash and unpacks. With `--whole`, FILE may allow
several versions; uv chooses, and all goes to DIR itself. With `--like`, wheels are for the platform
that probe.py described, PYTHON is no interpreter of it, and no bytecode is compiled.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # `-I` leaves it out

import packages

# Settings of uv that say where packages come from and how. Others, such as overrides, could change
# what is installed; that the lock alone decides.
HARMLESS = re.compile(
    r"UV_(CACHE_DIR|OFFLINE|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|KEYRING_PROVIDER|REQUEST_TIMEOUT"
    r"|FIND_LINKS|(DEFAULT_|EXTRA_)?INDEX(_URL|_STRATEGY|_\w+_(USERNAME|PASSWORD))?"
    r"|HTTP_\w+|CONCURRENT_\w+|NETRC|CREDENTIALS_DIR)"
)
UV = (
    *("pip", "install", "--no-config", "--no-progress", "--color", "never"),
    *("--no-build", "--no-compile-bytecode"),
)
PINNED = ("--require-hashes", "--no-deps")
KNOWN_GLIBC = (17, 28, *range(31, 41))
WORKERS = 2  # modules are compiled by so many processes at once
# What uv says, and what it means: the first that is found serves.
REASONS = (
    ("hash mismatch", "what was downloaded for {} is not what the lock names"),
    ("no space left", "the disk is full"),
    ("failed to fetch", "the package index of {} cannot be reached"),
    ("error sending request", "the package index of {} cannot be reached"),
    ("connectivity is disabled", "{} is not in uv's cache, and uv works offline"),
    ("failed to download", "{} cannot be downloaded"),
    ("no wheels with a matching", "{} has no wheel for this platform and Python"),
    ("no usable wheels", "{} has no wheel for this platform and Python"),
    ("has no wheels", "{} has no wheel for this platform and Python"),
    ("building source distributions is disabled", "{} has no wheel, only its source"),
    ("does not satisfy python", "{} does not support this version of Python"),
    ("was not found in the", "{} is not in the package index"),
    ("there is no version of", "{} is not in the package index"),
)
YANKED = re.compile(r"`?([\w.-]+)==([^`\s]+)`? is yanked(?: \(reason: ['\"]?(.*?)['\"]?\)(?: |$))?")


def main() -> None:
    """Download everything at once, then unpack, clean and compile wheel by wheel."""
    words = sys.argv[1:]
    is_whole = "--whole" in words
    words = [word for word in words if word != "--whole"]
    options = dict(zip(words[::2], words[1::2], strict=False))
    try:
        uv, python = options["--uv"], options["--python"]
        listed, out = options["--list"], options["--out"].rstrip("/")
    except KeyError:
        sys.exit(__doc__.split("\n\n")[1] if __doc__ else "")
    like = platform_words(options["--like"]) if "--like" in options else []
    os.makedirs(out, exist_ok=True)
    with open(listed, encoding="utf-8") as file:
        lines = [line for line in file.read().splitlines() if line.strip()]
    installer = Installer([uv, *UV, "--python", python, *like], lines)
    compiler = "" if like else python
    if is_whole:
        if lines:
            installer.install(["--link-mode", "copy", "--requirements", listed], out)
        finish([out], compiler)
        return
    if len(lines) > 1:  # downloads at the same time fill uv's cache
        with tempfile.TemporaryDirectory() as scratch:
            installer.install(
                [*PINNED, "--link-mode", "symlink", "--requirements", listed], scratch
            )
    folders = [f"{out}/{number}" for number in range(len(lines))]
    with tempfile.TemporaryDirectory() as scratch:
        for line, folder in zip(lines, folders, strict=True):
            one = os.path.join(scratch, "one.txt")
            with open(one, "w", encoding="utf-8") as file:
                file.write(line + "\n")
            os.mkdir(folder)
            offline = ["--offline"] if len(lines) > 1 else []
            installer.install(
                [*PINNED, *offline, "--link-mode", "copy", "--requirements", one], folder
            )
    finish(folders, compiler)


def platform_words(path: str) -> list[str]:
    """Return how uv is told to choose wheels for another platform."""
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    markers = found["markers"]
    platforms = dict.fromkeys(tag.split("-")[2] for tag in found["tags"])
    names = [one.removesuffix("_" + markers["platform_machine"]) for one in platforms]
    name = next((one for one in names if one.startswith(("many", "musl"))), "linux")
    glibc = re.fullmatch(r"manylinux_2_(\d+)", name)
    if glibc:  # uv knows some of them by name
        known = max(one for one in KNOWN_GLIBC if one <= max(int(glibc[1]), KNOWN_GLIBC[0]))
        name = f"manylinux_2_{known}"
    machine = markers["platform_machine"]
    like = f"{machine}-unknown-linux-musl" if name.startswith("musl") else f"{machine}-{name}"
    return ["--python-version", markers["python_full_version"], "--python-platform", like]


class Installer:
    """Runs uv; where it fails, ends with a sentence, the place in the lock and uv's own words."""

    def __init__(self, command: list[str], lines: list[str]) -> None:
        self._command = command
        self._lines = lines

    def install(self, words: list[str], folder: str) -> None:
        """Let uv unpack wheels into `folder`."""
        done = subprocess.run(
            [*self._command, *words, "--target", folder],
            env=variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        said = done.stderr.decode("utf-8", "replace").strip()
        if done.returncode != 0:
            culprit = guilty(said, self._lines)
            self._fail(culprit, reason(said, culprit), said)
        yanked = YANKED.search(" ".join(said.split()))
        if yanked and not os.environ.get("MLBUILD_ALLOW_YANKED"):  # noqa: TID251 - our caller's word
            name = f"{yanked[1]}=={yanked[2]}"
            why = f": {yanked[3]}" if yanked[3] else ""
            self._fail(
                name,
                f"`{name}` was yanked by its authors{why}\n"
                "lock another version, or say `allow_yanked = True`",
                "",
            )

    def _fail(self, culprit: str, sentence: str, said: str) -> None:
        sys.exit("\n".join([sentence, *place_of(culprit), said]).strip())


def place_of(culprit: str) -> list[str]:
    """Return the line that tells mlbuild where in the lock to look for a package."""
    lock = os.environ.get("MLBUILD_LOCK", "")  # noqa: TID251 - no part of the key, but of words
    return [f"at `{sought(culprit, lock)}` in `{lock}`"] if lock and culprit else []


def guilty(said: str, lines: list[str]) -> str:
    """Return the package that uv speaks of, as `name==version`; "" when that is not clear."""
    pins = [line.split(" ", 1)[0] for line in lines]
    folded = said.lower().replace("_", "-")
    exact = [
        pin for pin in pins if re.search(rf"(?<![\w-]){re.escape(pin.lower())}(?![\w+.]\w)", folded)
    ]
    if exact or len(pins) == 1:
        return (exact or pins)[0]
    names = [pin for pin in pins if re.search(rf"(?<![\w-]){re.escape(name_of(pin))}\b", folded)]
    return names[0] if len(names) == 1 else ""


def name_of(pin: str) -> str:
    """Return the name of a pinned package, without extras."""
    return re.split(r"[=\[<>~!]", pin, maxsplit=1)[0]


def sought(pin: str, lock: str) -> str:
    """Return the text by which a package is found in the lock at `lock`."""
    name = os.path.basename(lock)
    if name == "uv.lock" or name.endswith((".toml", ".py.lock")):
        return f'name = "{name_of(pin)}"'
    return pin


def finish(folders: list[str], python: str) -> None:
    """Clean and compile what lies in each of `folders`, some of them at once."""
    running: list[subprocess.Popen[bytes]] = []
    for folder in folders:
        packages.clean(folder)
        if python:
            running.append(packages.compiling(folder, python, variables()))
        if len(running) >= WORKERS:
            wait(running.pop(0))
    for process in running:
        wait(process)


def wait(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a process that compiles."""
    if process.wait() != 0:
        sys.exit("the modules cannot be compiled")


def variables() -> dict[str, str]:
    """Return our own variables without those that could change what uv installs."""
    return {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - a program of its own
        if not name.startswith("UV_") or HARMLESS.fullmatch(name)
    }


def reason(said: str, culprit: str) -> str:
    """Return in one sentence why uv failed."""
    folded = " ".join(said.lower().split())
    sentence = next(
        (sentence for words, sentence in REASONS if words in folded),
        "uv could not install the packages",
    )
    return sentence.format(f"`{culprit}`" if culprit else "a package")


if __name__ == "__main__":
    main()
