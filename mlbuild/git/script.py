"""Script: the few lines of shell that stand in a folder of hooks and call mlbuild.

They first run the hook that stood there before. They find mlbuild where it was when it installed
them, else on the PATH, and let git go on where it is gone. Only exit code 3 of `mlbuild hooks run`
stops git.
"""

import re
from dataclasses import dataclass
from shlex import quote

from blake3 import blake3

READING = frozenset({"pre-push", "post-receive"})  # git tells them on stdin what moved
STOPPING = frozenset({"pre-push", "pre-commit"})  # git goes by their exit codes
REFUSED = 3  # the exit code that stops git
_DIGITS = 16  # of the hash in the first lines
_HEAD = re.compile(r"#!/bin/sh\n# mlbuild hook 1 ([0-9a-f]{16}) [^\n]*\n")
_BEFORE = re.compile(r'^before="\$\{0%/\*\}"/(\S+)$', re.MULTILINE)
_START = """\
#!/bin/sh
# mlbuild hook 1 {hash} written by `mlbuild hooks install`; `mlbuild hooks uninstall` removes it
"""
_READ = """\
input=$(cat && echo .)
input=${input%.}
"""
_ASIDE = """\
before="${{0%/*}}"/{name}
if [ -{test} "$before" ]; then
    {feed}{call}"$before" "$@" || {failed}
fi
"""
_FIND = """\
python={python}
if [ -x "$python" ] && "$python" -P -c "import mlbuild" 2>/dev/null; then
    set -- "$python" -P -m mlbuild hooks run {hook} -- "$@"
elif command -v mlbuild >/dev/null 2>&1; then
    set -- mlbuild hooks run {hook} -- "$@"
else
    echo "mlbuild is not to be found, so this {hook} hook builds nothing" >&2
    exit $code
fi
{feed}"$@"
"""
_FEED = 'printf %s "$input" 2>/dev/null | '
_STOP = f"[ $? -ne {REFUSED} ] || exit 1\n"


@dataclass(frozen=True, slots=True)
class Script:
    """What a hook of ours says."""

    hook: str
    python: str  # the interpreter that mlbuild is installed for
    before: str = ""  # name of the file, beside it, that was the hook before
    sourced: bool = False  # whether hooks of that folder are read by a shell, not executed

    @property
    def text(self) -> str:
        """The script, with a hash of itself."""
        return _signed(self._body())

    def _body(self) -> str:
        feed = _FEED if self.hook in READING else ""
        lines = ["set +e\ncode=0\n", _READ if feed else ""]
        if self.before:
            aside = _ASIDE.format(
                name=self.before,
                test="f" if self.sourced else "x",
                call="sh -e " if self.sourced else "",
                failed="exit" if self.hook in STOPPING else "code=$?",
                feed=feed,
            )
            lines.append(aside)
        lines.append(_FIND.format(python=quote(self.python), hook=self.hook, feed=feed))
        lines.append(_STOP if self.hook in STOPPING else "")
        lines.append("exit $code\n")
        return "".join(lines)


def is_ours(text: str) -> bool:
    """Say whether mlbuild wrote a hook, be it edited since or not."""
    return _HEAD.match(text) is not None


def is_edited(text: str) -> bool:
    """Say whether somebody edited a hook that mlbuild wrote."""
    found = _HEAD.match(text)
    return found is not None and _signed(text[found.end() :]) != text


def before_in(text: str) -> str:
    """Return the name of the hook that one of ours runs first, "" for none."""
    found = _BEFORE.search(text)
    return found[1] if found else ""


def _signed(body: str) -> str:
    digest = blake3(body.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
    return _START.format(hash=digest) + body
