"""The `/etc` of sandboxes is made by one process at a time, and never taken from under another."""

import os
from pathlib import Path

from mlbuild.exec.etc import prepare_etc


def test_many_processes_that_start_at_once_all_get_a_whole_etc(tmp_path: Path) -> None:
    ready, go = os.pipe()
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(go)
                os.read(ready, 1)  # until the pipe closes
                place = prepare_etc(str(tmp_path))
                whole = all(os.path.exists(f"{place}/resolv.conf") for _ in range(2000))
                code = 0 if whole else 3
            finally:
                os._exit(code)
        children.append(pid)
    os.close(go)

    ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]

    assert ended == [0] * 8
    assert len([name for name in os.listdir(tmp_path) if name.startswith("etc-")]) == 2
