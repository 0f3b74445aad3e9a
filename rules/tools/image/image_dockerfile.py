"""Dockerfiles: one canonical text, so that a comment changes nothing, of which every base is known.

usage: image_dockerfile.py DOCKERFILE OUT [--base]

Comments, blank lines and line breaks do not reach OUT. A FROM names an image by its digest, an
earlier stage, `scratch`, or with --base the image `base`: a tag could mean another image tomorrow.
"""
# ruff: noqa: INP001 - a program of its own, not a module of a package

import re
import sys
from collections.abc import Iterator

BY_DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")
FROM = re.compile(r"FROM\s+(?:--platform=\S+\s+)?(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
REMOTE = re.compile(r"ADD\s.*\b(?:https?|git)://", re.IGNORECASE)


class DockerfileError(Exception):
    """A line that we do not build with."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def main() -> None:
    """Read, check, write."""
    words = [word for word in sys.argv[1:] if word != "--base"]
    if len(words) != 2:  # noqa: PLR2004 - DOCKERFILE and OUT
        sys.exit("usage: image_dockerfile.py DOCKERFILE OUT [--base]")
    path, out = words
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = canonical(file.read(), has_base="--base" in sys.argv)
    except DockerfileError as error:
        sys.exit(f"{path}:{error.line}: {error}")
    except UnicodeDecodeError:
        sys.exit(f"{path} is not UTF-8 text")
    with open(out, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def canonical(text: str, *, has_base: bool) -> str:
    """Return a Dockerfile with one instruction a line. Raises DockerfileError."""
    stages: set[str] = set()
    lines: list[str] = []
    for number, line in instructions(text):
        if found := FROM.fullmatch(line):
            check_base(found[1], stages, number=number, has_base=has_base)
            stages.update(filter(None, (found[2],)))
        elif line.upper().startswith("FROM"):
            raise DockerfileError(number, f"`{line}` names no image")
        elif not stages and not lines and not line.upper().startswith("ARG"):
            raise DockerfileError(number, "it does not begin with FROM")
        elif REMOTE.match(line):
            raise DockerfileError(number, f"`{line}` downloads: fetch it with a dataset, then COPY")
        lines.append(line)
    if not any(FROM.fullmatch(line) for line in lines):
        raise DockerfileError(1, "it has no FROM")
    return "".join(f"{line}\n" for line in lines)


def check_base(image: str, stages: set[str], *, number: int, has_base: bool) -> None:
    """Refuse a base that may be another one tomorrow."""
    if image == "scratch" or image in stages or BY_DIGEST.fullmatch(image):
        return
    if image == "base":
        if not has_base:
            raise DockerfileError(number, "`FROM base` needs the attribute `base`, an image")
        return
    raise DockerfileError(
        number,
        f"`{image}` may be another image tomorrow: write its digest, `{image.partition('@')[0]}"
        "@sha256:…`, or `FROM base` and name a container_environment as `base`",
    )


def instructions(text: str) -> Iterator[tuple[int, str]]:
    """Yield each instruction as one line, with the number of its first."""
    begun, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if re.fullmatch(r"#\s*escape\s*=.*", line, re.IGNORECASE) and not begun:
            raise DockerfileError(number, "another escape character is not supported")
        if not line or line.startswith("#"):
            continue
        if "<<" in line and re.match(r"(RUN|COPY|ADD)\b.*<<-?['\"]?\w", line, re.IGNORECASE):
            raise DockerfileError(number, "texts after `<<` are not supported: COPY a file")
        first = first if begun else number
        if line.endswith("\\"):
            begun += line[:-1].rstrip() + " "
            continue
        yield first, begun + line
        begun = ""
    if begun.strip():
        yield first, begun.strip()


if __name__ == "__main__":
    main()
