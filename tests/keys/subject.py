"""The workspace whose one target, `//:subject`, every mutation of the suite is held against."""

import hashlib
import io
import os
import zipfile
from pathlib import Path

from tests.harness import Build

BUILD = """
load("//tools:defs.bzl", "subject")

python_environment(name = "env", lock = "requirements.lock")

genrule(
    name = "made",
    srcs = ["made.in"],
    outs = ["made.txt"],
    cmd = "tr a-z A-Z < $< > $@",
)

subject(
    name = "subject",
    script = "app/main.py",
    srcs = glob(["app/*.py", "app/extra/*.txt"], exclude = ["app/main.py"]) + ["app/run.sh"],
    environment = ":env",
    data = {"table": "//data:table", "images": "//data:pictures", "made": ":made"},
    params = {"lr": 0.1, "epochs": 1, "flag": True, "name": "a", "nested": {"x": [1, 2]}},
    args = ["--lr", "$(param lr)", "--out", "$(output out.json)", "two words"],
    env = {"MODE": "fast"},
    seed = 1,
    outs = ["out.json"],
    resources = {"cpus": 1, "memory": "512Mi"},
    timeout = "100s",
    tags = ["nightly"],
)

genrule(name = "other", srcs = ["other.txt"], outs = ["other.out"], cmd = "cp $< $@")
"""

MACRO = '''
def subject(name, **attributes):
    """Declares the target under test."""
    process(name = name, **attributes)
'''

MAIN = """
import json, os, sys
import helper, tiny

out = sys.argv[sys.argv.index("--out") + 1]
with open(out, "w") as file:
    json.dump({"argv": sys.argv[1:3], "helper": helper.VALUE, "tiny": tiny.VALUE}, file)
"""

DATA = """
dataset(name = "table", srcs = ["table.csv"])
dataset(name = "pictures", srcs = ["images"])
"""


def wheel(folder: Path, version: str, source: str) -> str:
    """Write a wheel of the package `tiny`; return its sha256. The bytes depend on nothing else."""
    dist = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": source,
        f"{dist}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{dist}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{dist}/RECORD"] = "".join(f"{name},,\n" for name in files) + f"{dist}/RECORD,,\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"tiny-{version}-py3-none-any.whl").write_bytes(packed.getvalue())
    return hashlib.sha256(packed.getvalue()).hexdigest()


def lock(version: str, digest: str) -> str:
    return f"# made by hand\ntiny=={version} \\\n    --hash=sha256:{digest}\n"


def make(root: Path, *, cache: Path, wheels: Path) -> Build:
    """Write the workspace; build nothing."""
    build = Build(root, cache=cache)
    one = wheel(wheels, "1.0", "VALUE = 1\n")
    wheel(wheels, "2.0", "VALUE = 2\n")
    build.env = {"UV_FIND_LINKS": str(wheels), "UV_NO_INDEX": "1", "UV_OFFLINE": "1"}
    build.file("BUILD.ml", BUILD).file("tools/defs.bzl", MACRO).file("tools/BUILD.ml", "")
    build.file("data/BUILD.ml", DATA).file("requirements.lock", lock("1.0", one))
    build.file("app/main.py", MAIN).file("app/helper.py", "import deep\nVALUE = deep.VALUE\n")
    build.file("app/deep.py", "VALUE = 7\n").file("app/run.sh", "echo\n")
    build.file("app/extra/a.txt", "a").file("app/extra/b.txt", "b")
    build.file("data/table.csv", "1,2\n3,4\n").file("data/images/0/a.png", b"\x89a")
    build.file("data/images/1/b.png", b"\x89b").file("made.in", "made\n").file("other.txt", "x")
    os.symlink("a.png", root / "data/images/0/link.png")
    return build
