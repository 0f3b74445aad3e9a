"""Boot: the first program on the other machine: it makes sure that the runner is there, then is it.

It is sent as text and runs before anything of ours is installed, by whatever Python there is.
"""

import base64

# Frames as in `frames.py`. Nothing but the standard library, and no syntax that is newer than 3.6:
# an old interpreter must be able to say that it is one.
TEXT = """
import json, os, platform, struct, sys
def say(words):
    text = json.dumps(words).encode() + b"\\n"
    left = struct.pack("<I", len(text)) + text
    while left:
        left = left[os.write(out, left):]
def exactly(size):
    found = b""
    while len(found) < size:
        more = os.read(0, min(size - len(found), 1 << 20))
        if not more:
            sys.exit(0)
        found += more
    return found
def install(content, packages):
    import io, shutil, subprocess, tempfile, zipfile
    os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
    fresh = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(place))
    zipfile.ZipFile(io.BytesIO(content)).extractall(fresh)
    if packages:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--target", fresh] + packages
        done = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            say({"failed": done.stdout.decode("utf-8", "replace")[-2000:]})
            sys.exit(1)
    try:
        os.rename(fresh, place)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        if not os.path.isdir(place):
            raise
out = os.dup(1)
os.dup2(2, 1)
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
except OSError as error:
    say({"failed": str(error), "full": error.errno in (28, 122)})
    sys.exit(1)
sys.path.insert(0, place)
from mlbuild.remote.agent import main
say({"ready": True})
main(root, out)
"""


def one_line() -> str:
    """Return the program in one line without blanks of its own, quotes aside."""
    return f"import base64;exec(base64.b64decode('{base64.b64encode(TEXT.encode()).decode()}'))"
