"""A real sshd for this user on a port of its own, and a real ssh that knows it as `desk`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.crowd import until
from tests.ports import find_free_port


def program(place: Path, text: str) -> None:
    place.parent.mkdir(exist_ok=True)
    place.write_text(text)
    place.chmod(0o755)


@contextmanager
def own_sshd(folder: Path, environ: Mapping[str, str]) -> Iterator[int]:
    """`folder`: the HOME of who logs in; its `bin/ssh` goes there, and what is in `bin` is on the PATH there.

    `environ`: what a login has besides.
    """
    keys = folder / ".ssh"
    keys.mkdir(mode=0o700, exist_ok=True)
    for name in ("host", "mine"):
        subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", keys / name], check=True)
    port = find_free_port()
    given = {"PATH": f"{folder}/bin:{os.environ['PATH']}", **environ}
    lines = [
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {keys}/host", "UsePAM no", "StrictModes no",
        f"AuthorizedKeysFile {keys}/mine.pub", "PidFile none",
        f"SetEnv {' '.join(f'{name}={value}' for name, value in given.items())}",
    ]  # fmt: skip
    (keys / "sshd_config").write_text("\n".join(lines) + "\n")
    client = [
        "Host desk", "HostName 127.0.0.1", f"Port {port}", f"IdentityFile {keys}/mine", "IdentitiesOnly yes",
        f"UserKnownHostsFile {keys}/known", "StrictHostKeyChecking accept-new", "BatchMode yes",
    ]  # fmt: skip
    (keys / "config").write_text("\n".join(client) + "\n")
    program(folder / "bin/ssh", f'#!/bin/sh\nexec {shutil.which("ssh")} -F {keys}/config "$@"\n')
    path = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert path is not None
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([path, "-D", "-e", "-f", keys / "sshd_config"], stderr=subprocess.PIPE)
    try:
        until(lambda: _listens(port), "sshd listens")
        yield port
    finally:
        server.terminate()
        server.communicate(timeout=10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
