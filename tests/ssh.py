"""A real OpenSSH server for tests, and a client that trusts it alone."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

STARTS_WITHIN = 30  # seconds
_PLACES = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin"

_HIDE = 'for one in $0; do mount --bind /dev/null "$one" || exit; done; exec "$@"'
_HIDING = ("unshare", "--mount", "sh", "-c", _HIDE)  # then what to hide, and a command


class Host:
    """This host, once more, behind a server that listens on its loopback."""

    def __init__(
        self,
        folder: Path,
        *,
        variables: tuple[str, ...] = (),
        settings: tuple[str, ...] = (),
        hidden: tuple[str, ...] = (),
    ) -> None:
        """Keep everything in `folder`; its sessions get `variables`, each `NAME=value`.

        `settings` are more lines of its sshd_config; `hidden` are programs that it lacks.
        """
        self._hidden = hidden
        self.folder = folder
        self.bin = folder / "bin"  # has an `ssh` that knows this server; goes first in PATH
        self._variables = variables
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"root@127.0.0.1:{self.port}"
        self.bin.mkdir(parents=True)
        for name in ("user", "host"):
            words = ["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(words, check=True)
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        self.trust(folder / "host.pub")
        (folder / "sshd_config").write_text(self._server_settings(), encoding="utf-8")
        (folder / "config").write_text(self._client_settings(), encoding="utf-8")
        wrapper = self.bin / "ssh"
        ssh = shutil.which("ssh")
        wrapper.write_text(f'#!/bin/sh\nexec {ssh} -F {folder}/config "$@"\n', encoding="utf-8")
        wrapper.chmod(0o755)

    def trust(self, public_key: Path) -> None:
        """Have the client expect this key of the server, and no other."""
        kind, key = public_key.read_text(encoding="utf-8").split()[:2]
        known = f"[127.0.0.1]:{self.port} {kind} {key}\n"
        (self.folder / "known_hosts").write_text(known, encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it answers."""
        os.makedirs("/run/sshd", exist_ok=True)
        server = shutil.which("sshd", path=_PLACES)
        assert server is not None
        words = [server, "-D", "-f", f"{self.folder}/sshd_config", "-E", f"{self.folder}/log"]
        if self._hidden:
            words = [*_HIDING, " ".join(self._hidden), *words]
        self._process = subprocess.Popen(words, start_new_session=True)
        for _ in range(STARTS_WITHIN * 20):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])

    def stop(self) -> None:
        """End it with all its sessions."""
        master = ["ssh", "-F", f"{self.folder}/config", "-O", "exit", "-p", str(self.port)]
        subprocess.run([*master, "root@127.0.0.1"], check=False, capture_output=True)
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()
            self._process = None

    def _server_settings(self) -> str:
        folder = self.folder
        return (
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nPermitRootLogin prohibit-password\n"
            "PasswordAuthentication no\nUsePAM no\nStrictModes no\nPidFile none\n"
            "MaxSessions 100\nMaxStartups 100\nSubsystem sftp internal-sftp\n"
            + (
                f"SetEnv {' '.join(self._variables)}\n" if self._variables else ""
            )  # one line counts
            + "".join(f"{line}\n" for line in self._settings)
        )

    def _client_settings(self) -> str:
        folder = self.folder
        return (
            f"Host *\n IdentityFile {folder}/user\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {folder}/known_hosts\n StrictHostKeyChecking yes\n"
        )


def why_no_server() -> str:
    """Say why no server can be started here, "" when one can."""
    if os.geteuid() != 0:
        return "an OpenSSH server of our own needs root"
    if shutil.which("sshd", path=_PLACES) is None:
        return "no sshd is installed (apt-get install openssh-server)"
    return ""


def server(
    folder: Path,
    *,
    variables: tuple[str, ...] = (),
    settings: tuple[str, ...] = (),
    hidden: tuple[str, ...] = (),
) -> Iterator[Host]:
    """Yield a host; skip where there can be none."""
    if why_not := why_no_server():
        pytest.skip(why_not)
    if hidden and subprocess.run([*_HIDING, "", "true"], check=False).returncode:
        pytest.skip("nothing can be mounted here, so no program can be hidden")
    host = Host(folder, variables=variables, settings=settings, hidden=hidden)
    try:
        host.start()
        yield host
    finally:
        host.stop()
