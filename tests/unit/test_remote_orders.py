"""What travels between two machines: orders, states, outputs, logs, and words for the shell."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlbuild.core.action import Action, InputRef, Output, OutputRef, Run, ToolRef
from mlbuild.core.digest import digest_of
from mlbuild.core.result import Content
from mlbuild.core.tree import Kind
from mlbuild.errors import HostError, InputError
from mlbuild.exec.base import Tool
from mlbuild.remote import state
from mlbuild.remote.bell import Bell
from mlbuild.remote.control import Control
from mlbuild.remote.follow import Follower
from mlbuild.remote.link import boot
from mlbuild.remote.machine.tools import fitting
from mlbuild.remote.order import Item, Order, Wanted, decode, encode, order_id
from mlbuild.remote.outage import Cut, Outage
from mlbuild.remote.outputs import open_up, restore, scan
from mlbuild.remote.ssh.client import _quoted, host_fault, trouble_of
from mlbuild.remote.state import Fault, State
from mlbuild.shared.folder import FolderBucket

RUN = Run(
    argv=(("sh",), ("-c", InputRef("a b")), (OutputRef("o"), "'\"$(rm)\\\n"), (ToolRef("uv"),)),
    env=(("NAME", ("\udcff", OutputRef("x"))),),
    params={"lr": 0.1, "deep": {"list": [1, None, True]}},
    names=(("train", "a b"),),
    tools=("uv",),
    seed=3,
    caller_env=("UV_*",),
    quiet_env=(("Q", "1"),),
)
DIGEST = digest_of(b"one")


def order(run: Run = RUN) -> Order:
    action = Action(
        "//:a", "//:a", "train", run, ("a b",), (Output("o", "tree", "model"),), folder="f"
    )
    item = Item("a b", Content("x", DIGEST), digest_of(b"tree"), "below")
    return Order("k" * 64, "1.0", action, (item,), {"uv": Wanted("uv 1.2", "/tools/uv")}, "linux")


def test_an_order_is_read_as_it_was_written() -> None:
    assert decode(encode(order())) == order()


def test_the_name_of_an_order_changes_with_the_command_and_with_a_nonce() -> None:
    names = {
        order_id(encode(one))
        for one in (order(), order(replace(RUN, seed=4)), replace(order(), nonce="n"))
    }

    assert len(names) == 3
    assert order_id(encode(order())) in names


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"order": 99}'])
def test_what_is_no_order_is_refused(content: bytes) -> None:
    with pytest.raises(InputError):
        decode(content)


def test_a_state_is_read_as_it_was_written() -> None:
    fault = Fault("lacking", "m", ("h",), (("aa", 3),), ("uv",))
    told = State(
        "failed", "x", gpus=(("u", "n", "d", 1, "c"),), odd=(("p", "link", "/t"),), fault=fault
    )

    assert state.decode(state.encode(told)) == told


@pytest.mark.parametrize("content", [b"", b"[]", b'{"phase": "queued"}', b'{"gpus": 3}', b"\xff"])
def test_what_is_no_state_is_none(content: bytes) -> None:
    assert state.decode(content) is None


def test_everything_that_a_command_wrote_is_there_again(tmp_path: Path) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    (out / "deep" / "empty").mkdir(parents=True)
    (out / "tool").write_text("#!/bin/sh\n")
    (out / "tool").chmod(0o700)
    (out / "locked").write_text("x")
    (out / "locked").chmod(0)
    (out / "deep" / "inside").symlink_to("../tool")
    (out / "deep" / "away").symlink_to("/etc/passwd")
    os.mkfifo(out / "pipe")

    open_up(str(out))
    tree, odd = scan(str(out))
    again.mkdir()
    restore(odd, str(again))

    kinds = {one.path: one.kind for one in tree.entries}
    assert kinds == {
        "deep/empty": Kind.EMPTY,
        "deep/inside": Kind.SYMLINK,
        "locked": Kind.FILE,
        "tool": Kind.EXECUTABLE,
    }
    assert (again / "deep" / "away").readlink() == Path("/etc/passwd")
    assert (again / "pipe").is_fifo()


def test_a_fork_hashes_large_outputs_though_its_parent_had_threads_for_that(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from mlbuild.hashing import hash_file\n"
        "from mlbuild.remote.outputs import scan\n"
        "hash_file(sys.argv[1] + '/large')\n"
        "if not os.fork():\n"
        "    print(len(scan(sys.argv[1])[0].entries), flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    (tmp_path / "large").write_bytes(bytes(17 << 20))

    words = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "1\n"


@pytest.mark.parametrize("path", ["../up", "/etc/x", "a//b", "a/../../b", "nul\0"])
def test_no_name_from_elsewhere_leaves_the_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(HostError, match="is no output"):
        restore(((path, "link", "/"),), str(tmp_path))


def test_a_link_from_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "d").symlink_to(tmp_path)

    with pytest.raises(HostError, match="is no output"):
        restore((("d/new", "other", ""),), str(tmp_path / "out"))

    assert not (tmp_path / "new").exists()


def test_a_log_has_no_gap_and_no_repeat_over_several_connections(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    control, log = Control(FolderBucket(str(tmp_path / "bucket"))), tmp_path / "log"
    bell = Bell()
    follower = Follower("id", log=str(log), bell=bell)
    for number, piece in enumerate((b"one\n", b"two\n")):
        control.add_log("id", number, piece)
    control.tell("id", State("running", "first", chunks=2))

    def hear(_: State) -> None:
        raise Cut("gone")

    with pytest.raises(Cut):
        follower.follow(control, hear=hear, alive=lambda: True)
    control.add_log("id", 2, b"three\n")
    control.tell("id", State("ended", "first", chunks=3, ended={"exit_code": 0}))
    last = follower.follow(control, hear=lambda _: None, alive=lambda: True)

    assert last.phase == "ended"
    assert log.read_text() == "one\ntwo\nthree\n"
    bell.close()


def test_a_runner_that_went_without_a_word_is_an_outage(tmp_path: Path) -> None:
    control, bell = Control(FolderBucket(str(tmp_path))), Bell()
    control.tell("id", State("running", "first", host="gpu1", pid=7, every=0.0))

    with pytest.raises(Outage, match=r"`gpu1` \(process 7\) was killed or lost"):
        Follower("id", log="", bell=bell).follow(control, hear=lambda _: None, alive=lambda: False)
    bell.close()


def test_a_wish_to_end_reaches_the_runner(tmp_path: Path) -> None:
    control, bell = Control(FolderBucket(str(tmp_path))), Bell()
    control.tell("id", State("running", "first"))
    bell.ring()

    def alive() -> bool:
        return True

    def hear(now: State) -> None:
        if control.is_cancelled("id") and not now.over:
            control.tell("id", replace(now, phase="cancelled"))

    last = Follower("id", log="", bell=bell).follow(control, hear=hear, alive=alive)

    assert last.phase == "cancelled"
    bell.close()


def tool(content: str) -> Tool:
    return Tool("python", "/opt/python", "/python", "bin/python3", content)


def test_a_tool_is_taken_by_content_wherever_it_lies() -> None:
    known = {"python": tool("python 3.11.2 aaaa"), "python@3.11.7": tool("python 3.11.7 bbbb")}

    found = fitting("python", Wanted("python 3.11.7 bbbb", "/python"), known.__getitem__, host="h")

    assert (found.name, found.content, found.mount) == ("python", "python 3.11.7 bbbb", "/python")


def test_another_interpreter_is_refused_and_both_are_named() -> None:
    with pytest.raises(HostError) as error:
        fitting(
            *("python", Wanted("python 3.11.7 bbbb", "/python")),
            lambda _: tool("python 3.11.2 aaaa"),
            host="gpu1",
        )

    assert "python 3.11.7 (bbbb)" in error.value.message
    assert "it has python 3.11.2 (aaaa)" in error.value.message
    assert error.value.message.startswith("`gpu1` lacks")


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b", "a;b", "a\nb", "$(x)", "x" * 300])
def test_what_is_no_host_is_refused(host: str) -> None:
    assert host_fault(host)


@pytest.mark.parametrize("host", ["gpu1", "ana@gpu1.example.org", "ssh://ana@gpu1:2222", "::1"])
def test_hosts_are_taken_as_ssh_takes_them(host: str) -> None:
    assert not host_fault(host)


@pytest.mark.parametrize(
    ("code", "said", "kind", "words"),
    [
        (255, "ssh: connect to host x port 22: Connection refused", Cut, "cannot be reached"),
        (255, "ssh: Could not resolve hostname x: Name unknown", Cut, "cannot be reached"),
        (255, "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", HostError, "is refused"),
        (255, "Host key verification failed.", HostError, "is not known here"),
        (255, "ana@x: Permission denied (publickey).", HostError, "does not let you in"),
        (97, "", HostError, "there is no Python"),
        (1, "Killed", Cut, "ended: Killed"),
    ],
)
def test_each_trouble_of_ssh_has_its_sentence(
    code: int, said: str, kind: type[HostError], words: str
) -> None:
    error = trouble_of("x", code, said)

    assert type(error) is kind
    assert words in error.message


def test_words_reach_the_program_through_any_login_shell() -> None:
    words = ("a b", "$HOME", "`x`", "'", '"', "*", "é", "")
    script = " ".join(map(_quoted, ("printf", "%s|", *words)))

    for shell in ("/bin/sh", "/bin/bash"):
        done = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout == "|".join(words) + "|"
    with pytest.raises(InputError):
        _quoted("two\nlines")


def test_the_first_program_is_one_line_and_names_an_old_python() -> None:
    program = boot.one_line()
    old = boot.TEXT.replace("sys.version_info < (3, 11)", "sys.version_info < (99,)")

    done = subprocess.run(
        [sys.executable, "-I", "-c", old, "d", ""], capture_output=True, check=False
    )

    assert "\n" not in program
    assert b'"old": true' in done.stdout
