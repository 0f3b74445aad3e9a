"""Processes of this host that are not ours, and whether they have ended."""

import os
from pathlib import Path


def has_ended(pid: int) -> bool:
    """Say whether a process has ended, whoever has yet to take note of that."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def running(program: str, mark: str) -> set[int]:
    """Return the living processes of `program` whose words have `mark` in them.

    `mark` has a zero byte between two words; whoever only passes the words on is another program.
    """
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name = os.path.basename(line.partition(b"\0")[0]).decode(errors="replace")
        if name.startswith(program) and mark.encode() in line and not has_ended(int(pid)):
            found.add(int(pid))
    return found
