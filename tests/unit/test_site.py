"""What a machine that runs orders keeps, and for how long."""

import os
import time
from pathlib import Path

from mlbuild.remote.control import Control
from mlbuild.remote.machine.site import KEPT, Site
from mlbuild.remote.state import State


def aged(folder: Path) -> None:
    """Let everything in a folder be older than what is kept."""
    then = time.time() - KEPT - 3600
    for place in [*folder.rglob("*"), folder]:
        os.utime(place, (then, then))


def test_a_job_is_kept_as_a_whole_while_it_tells_that_it_lives(tmp_path: Path) -> None:
    site = Site(str(tmp_path), {})
    control = Control(site.bucket())
    for name in ("long", "over"):
        control.keep_order(name, b"order")
        control.add_log(name, 0, b"begun")
        control.tell(name, State("running", "a"))
    aged(tmp_path / "remote")
    control.tell("long", State("running", "a", beat=2))

    site.sweep()

    assert [control.order(name) for name in ("long", "over")] == [b"order", None]
    assert control.log("long", 0) == b"begun"


def test_the_folder_of_a_job_that_was_removed_goes_too(tmp_path: Path) -> None:
    site = Site(str(tmp_path), {})
    control = Control(site.bucket())
    control.keep_order("young", b"order")
    for name in ("old", "young"):
        (tmp_path / "remote" / "jobs" / name).mkdir(exist_ok=True)
    aged(tmp_path / "remote" / "jobs" / "old")

    site.sweep()

    assert os.listdir(tmp_path / "remote" / "jobs") == ["young"]
