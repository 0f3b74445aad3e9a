"""An agent that lies: each action of a build meets another lie, which its name says.

It stands where a host's own runner would, behind a real sshd: `python hostile_agent.py FOLDER`.
"""

import json
import os
import struct
import sys
import time

from mlbuild.core.tree import Entry, Kind, Tree
from mlbuild.remote.freight import freight_in
from mlbuild.remote.link.frames import hear, say
from mlbuild.remote.link.greeting import MARK
from mlbuild.remote.outputs import digest_of_file
from mlbuild.shared.folder import FolderBucket

CODE = {"exit_code": 0}
OUTSIDE = "/tmp"  # noqa: S108 - likewise
ESCAPE = "/tmp/mlbuild-escaped"  # noqa: S108 - what a lie tries to make
STATE = {"phase": "ended", "attempt": "a", "host": "evil", "beat": 1, "ended": CODE}
LIES = {  # name of a target -> what is wrong with the state that it is told
    "types": {"beat": "one", "chunks": [], "gpus": 3},
    "negative": {"chunks": -1, "log": -5},
    "code": {"ended": {"exit_code": "0"}},
    "nothing": {"ended": {}},
    "endless": {"ended": {"exit_code": 0, "seconds": float("inf")}},
    "phase": {"phase": "won"},
    "pieces": {"chunks": 10**9},
    "key": {"key": "ab" * 32},
    "up": {"odd": [["../../../../../../../../tmp/mlbuild-escaped", "link", "/etc"]]},
    "root": {"odd": [[ESCAPE, "other", ""]]},
    "through": {"odd": [["a", "link", OUTSIDE], ["a/mlbuild-escaped", "other", ""]]},
    "tree": {"tree": ["../../../../etc", 7]},
    "climbs": {"tree": "outside"},
    "tools": {"phase": "failed", "fault": {"kind": "lacking", "tools": ["uv", "/etc/shadow"]}},
    "words": {"phase": "failed", "fault": {"kind": "host", "message": "\x1b]0;evil\x07\x1b[2J"}},
    "fault": {"phase": "failed", "fault": {"kind": [], "message": {}}},
}
SHOUTS = {
    "garbage": lambda: os.urandom(4096),
    "huge": lambda: struct.pack("<I", 0xFFFFFFFF) + b"x" * 4096,
    "deep": lambda: framed(b"[" * 200_000),
    "list": lambda: framed(b"[1]"),
    "shape": lambda: framed(b'{"number": 1, "lacks": {"a": 1}, "facts": 3, "found": 1}'),
}


def framed(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content


def main(folder: str, shout: str) -> None:
    out = os.dup(1)
    os.dup2(2, 1)
    os.write(out, MARK)
    say(out, {"python": "3.11", "kind": "evil", "have": True, "old": False})
    say(out, {"ready": True})
    if shout:
        shouted(out, shout)
    lies: dict[str, str] = {}
    bucket = filled(folder)
    while frame := hear(0):
        words, content = frame
        number, answer, more = words["number"], {}, b""
        match words["ask"]:
            case "begin":
                owner = json.loads(content)["action"]["owner"]
                lies[words["id"]] = owner.rpartition(":")[2]
                keys[words["id"]] = json.loads(content)["key"]
                answer = {"there": True, "lacks": []}
            case "await":
                more = told(words["id"], lies[words["id"]])
                answer = {"gone": False, "sizes": [len(more)]}
            case "read":
                found = bucket.read(words["name"], start=words["start"], size=words["size"])
                answer, more = {"found": found is not None}, found or b""
            case "write":
                answer = {"written": True}
            case "names":
                answer = {"names": []}
            case "alive":
                answer = {"alive": True}
        say(out, {**answer, "number": number}, more)


keys: dict[str, str] = {}
trees: dict[str, tuple[str, int]] = {}


def filled(folder: str) -> FolderBucket:
    """Return a bucket with a tree that is empty, and one whose only file lies above it."""
    inner = f"{folder}/bucket/in"
    os.makedirs(inner, exist_ok=True)
    bucket = FolderBucket(f"{folder}/bucket")
    with open(f"{folder}/mlbuild-escaped", "w") as file:
        file.write("x")
    up = Entry("../../mlbuild-escaped", Kind.FILE, digest_of_file(f"{folder}/mlbuild-escaped"))
    freight = freight_in(bucket)
    for name, entries in (("empty", ()), ("outside", (up,))):
        digest = freight.send(Tree(entries), inner)
        trees[name] = (digest.hash, digest.size)
    freight.close()
    return bucket


def told(id_: str, lie: str) -> bytes:
    state = {**STATE, "key": keys[id_], "tree": "empty", **LIES.get(lie, {})}
    if isinstance(state["tree"], str):
        state["tree"] = trees[state["tree"]]
    if "fault" in state:
        state["fault"] = {"message": "", "hints": [], "trees": [], "tools": [], **state["fault"]}
    return json.dumps(state).encode()


def shouted(out: int, shout: str) -> None:
    """Answer the first question wrongly, and stay."""
    hear(0)
    os.write(out, SHOUTS[shout]())
    if shout == "garbage":
        time.sleep(10)  # longer than anybody waits for it
    while os.read(0, 1 << 16):
        pass
    sys.exit(0)


main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
