"""Script: the shell script that a worker runs; it becomes the command of an action.

It is the first thing below an input root that runs. It makes sure that the worker is what the key
of the action takes for granted, gives the command exactly the variables that it is to have, and
joins what it prints to standard output and standard error in one stream, in the order of writing.
What it has to tell, such as that the time was over, stands in the file `told`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlbuild.exec.launcher import GRACE, too_long
from mlbuild.exec.numerics import LEVELS

HERE = "@mlbuild-root@"  # stands for the input root where it may be anywhere
CONTEXT, CONTEXT_HERE = "context.json", "tmp/context.json"
TOLD = "told"
LATE = "late"  # the time of the command was over
TAKEN = "taken"  # somebody wants the worker for something else
PROGRAM = "program"  # there is no such program
EXPOSED = "exposed"  # the worker shows more than the input root
NETWORK = "network"  # the worker has a network that the action did not ask for
PLATFORM = "platform"  # the worker's system is another one
PROCESSOR = "processor"  # the worker's processor rounds in another way

FAREWELL = 20.0  # seconds that a command has to save what it knows when its worker is taken away
_WORD = 128 << 10  # bytes of one word that Linux takes
_WORDS = 1 << 20  # of all of them
# What a worker may show below `/`: its programs, and what the kernel and every sandbox makes.
_SYSTEM = "bin sbin lib lib32 lib64 libx32 usr etc nix proc sys dev run tmp lost+found"


@dataclass(frozen=True, slots=True)
class Scene:
    """What a worker must be for the result to be that of the key; "" and False: anything goes."""

    sealed: bool = True  # shows nothing but the input root
    offline: bool = True
    platform: str = ""  # as in the key
    machine: str = ""  # as `uname -m` says
    processor: str = ""  # class of it
    tops: tuple[str, ...] = ()  # names at the top of the input root


def script_of(
    argv: list[str], environment: Mapping[str, str], scene: Scene, *, timeout: float
) -> bytes:
    """Return the script for one command; paths that begin with HERE are below the input root."""
    path = _quoted(environment.get("PATH", "/usr/bin:/bin"))
    lines = [
        "exec 2>&1 </dev/null",
        'r=$(pwd -P); case "$r" in /) r=;; esac',
        f'tell() {{ printf \'%s\\n\' "$*" >"$r/{TOLD}"; exit 1; }}',
        f"trap 'tell {TAKEN}' TERM USR1",
        *_sealed(scene),
        *_offline(scene),
        *_platform(scene),
        *_processor(scene),
        'mkdir -p "$r/tmp/home"',
        *_context(scene),
        'cd "$r/work" || exit 1',
        f"(PATH={path}; command -v {_quoted(argv[0])}) >/dev/null || tell {PROGRAM}",
        *_command(argv, environment, timeout=timeout),
    ]
    return "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")


def _quoted(word: str) -> str:
    plain = "'" + word.replace("'", "'\"'\"'") + "'"
    return plain.replace(HERE, "'\"$r\"'")


def _sealed(scene: Scene) -> Iterable[str]:
    """Refuse a worker that shows other files than its own system and the input root."""
    if not scene.sealed:
        return
    known = "|".join(_quoted(name) for name in (*_SYSTEM.split(), *scene.tops))
    yield f'[ -z "$r" ] || tell {EXPOSED} "its input root is $r"'
    yield "for f in /*; do"
    yield f'case "${{f#/}}" in {known}) ;; *) tell {EXPOSED} "$f";; esac'
    yield "done"


def _context(scene: Scene) -> Iterable[str]:
    """Write the paths of this worker into the context file, where nobody could know them."""
    if not scene.sealed:
        yield f'sed "s|{HERE}|$r|g" "$r/{CONTEXT}" >"$r/{CONTEXT_HERE}" || exit 1'


def _offline(scene: Scene) -> Iterable[str]:
    """Refuse a worker whose kernel has a route to anywhere."""
    if scene.offline:
        yield "if [ -r /proc/net/route ]; then"
        yield f"{{ read -r f && read -r f; }} </proc/net/route && tell {NETWORK}"
        yield "fi"


def _platform(scene: Scene) -> Iterable[str]:
    """Refuse a worker whose system is another one than the key says."""
    if scene.machine:
        yield f'f=$(uname -m); [ "$f" = {_quoted(scene.machine)} ] || tell {PLATFORM} "$f"'
    if not scene.platform:
        return
    yield "for f in /etc/os-release /usr/lib/os-release; do [ -r $f ] && . $f && break; done"
    yield 'libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) && libc="${libc% *}-${libc##* }"'
    yield 'f="linux-$(uname -m)/${ID:-linux}${VERSION_ID:+-$VERSION_ID}/${libc:-libc-unknown}"'
    yield f'[ "$f" = {_quoted(scene.platform)} ] || tell {PLATFORM} "$f"'


def _processor(scene: Scene) -> Iterable[str]:
    """Refuse a worker whose processor is of another class, by what the kernel says it offers."""
    names = [name for name, _ in LEVELS]
    if scene.processor not in names:
        return
    at = names.index(scene.processor)
    yield "f=\" $(sed -n '/^flags/{s/.*: //p;q}' /proc/cpuinfo) \""
    for word in " ".join(words for _, words in LEVELS[: at + 1]).split():
        yield f'case "$f" in *" {word} "*) ;; *) tell {PROCESSOR} "none with {word}";; esac'
    for name, words in LEVELS[at + 1 : at + 2]:
        yield "more=1"
        for word in words.split():
            yield f'case "$f" in *" {word} "*) ;; *) more=;; esac'
        yield f'[ -z "$more" ] || tell {PROCESSOR} {name}'


def _command(argv: list[str], environment: Mapping[str, str], *, timeout: float) -> Iterable[str]:
    """Run the command with these variables and no others."""
    words = [f"{name}={value}" for name, value in environment.items()] + argv
    sizes = [len(word.encode("utf-8", "surrogateescape")) + 1 for word in words]
    if max(sizes) > _WORD or sum(sizes) > _WORDS:
        raise too_long(argv[0], sum(sizes))
    line = " ".join(["exec env -i $d", *map(_quoted, words)])
    # A shell ignores these two for a command that it does not wait for at once; we do not want it.
    yield "d=--default-signal=INT,QUIT; env $d true 2>/dev/null || d="
    yield f"({line}) & c=$!"
    yield "exec >/dev/null 2>&1"  # else some shells print how the command ended
    yield f"trap '{_taken()}' TERM USR1"
    if timeout:
        yield f"({_timer(timeout)}) & w=$!"
    yield "wait $c; s=$?"
    yield "while kill -0 $c; do wait $c; s=$?; done"  # a signal ends a wait
    if timeout:
        yield "kill $w"
    yield "exit $s"


def _taken() -> str:
    """Return what follows when the runner of a worker is to end: the command may save first."""
    return f'echo {TAKEN} >"$r/{TOLD}"; kill -TERM $c; (sleep {FAREWELL:g}; kill -KILL $c) &'


def _timer(seconds: float) -> str:
    """Return what ends a command after so long: asked first, as on this host."""
    return (
        f"trap 'kill $s; exit' TERM; sleep {seconds:.3f} & s=$!; wait $s; "
        f'echo {LATE} >"$r/{TOLD}"; kill -TERM $c; '
        f"sleep {GRACE:.3f} & s=$!; wait $s; kill -KILL $c"
    )
