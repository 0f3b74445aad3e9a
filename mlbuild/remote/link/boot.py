"""Boot: the first program on the other machine: it makes sure that the runner is there, then is it.

It is sent as text and runs before anything of ours is installed, by whatever Python there is.
"""

import base64

from mlbuild.remote.link.greeting import MARK

# Frames as in `frames.py`. Nothing but the standard library, and no syntax that is newer than 3.6:
# an old interpreter must be able to say that it is one.
_TEXT = """
import json, os, platform, struct, sys
def say(words):
    text = json.dumps(words).encode() + b"\\n"
    left = struct.pack("<I", len(text)) + text
    while left:
        left = left[os.write(out, left):]
def exactly(size):
    found = bytearray()
    while len(found) < size:
        more = os.read(0, min(size - len(found), 1 << 20))
        if not more:
            sys.exit(0)
        found += more
    return bytes(found)
def install(content, packages):
    import io, shutil, subprocess, tempfile, zipfile
    os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
    fresh = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(place))
    try:
        zipfile.ZipFile(io.BytesIO(content)).extractall(fresh)
        if packages:
            pip = [sys.executable, "-m", "pip", "install", "-q", "--target", fresh] + packages
            done = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
                told = [line for line in lines if "ERROR" in line] or lines or ["pip failed"]
                fail(told[-1][-500:], lacks=True)
        try:
            os.rename(fresh, place)
        except OSError:
            if not os.path.isdir(place):
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
def fail(why, **more):
    say(dict(more, failed=why))
    sys.exit(1)
out = os.dup(1)
os.dup2(2, 1)
os.write(out, mark)
digest, root = sys.argv[1], sys.argv[2]
short = "%d.%d" % sys.version_info[:2]
kind = "%s-%s-%s" % (sys.implementation.name, short, platform.machine())
cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
place = os.path.join(cache, "mlbuild", "runners", digest + "-" + kind)
old = sys.version_info < (3, 11)
have = os.path.isdir(place)
say({"python": short, "kind": kind, "have": have, "old": old})
if old:
    sys.exit(1)
try:
    if not have:
        frame = exactly(struct.unpack("<I", exactly(4))[0])
        head, _, content = frame.partition(b"\\n")
        install(content, json.loads(head.decode())["packages"])
    sys.path.insert(0, place)
    from mlbuild.remote.machine.agent import main
except OSError as error:
    fail(str(error), full=error.errno in (28, 122))
except Exception as error:
    fail("%s: %s" % (type(error).__name__, error))
say({"ready": True})
main(root, out)
"""
TEXT = f"mark = {MARK!r}\n{_TEXT}"


def one_line() -> str:
    """Return the program in one line without blanks of its own, quotes aside."""
    return f"import base64;exec(base64.b64decode('{base64.b64encode(TEXT.encode()).decode()}'))"
