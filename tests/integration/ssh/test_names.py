"""A machine with a name, whose key the user's own ssh has stored before: a real sshd, a real ssh."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from pancode.fleet.acts import NodeSpec
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.loop import LoopThread
from pancode.fleet.ssh.machines import HostKeyOffer, look_at_host
from pancode.fleet.ssh.sshconfig import SshPlaces
from tests.integration.faces.sshd import own_sshd


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with own_sshd(tmp_path, {}) as port:
        yield port


def login(folder: Path, alias: str, more: str = "") -> None:
    """The first login of the real ssh to this server by its name, which stores the key; then `more`."""
    config = folder / ".ssh/config"
    named = config.read_text().replace("Host desk", f"Host {alias}").replace("127.0.0.1", "localhost")
    config.write_text(named + more)
    subprocess.run([folder / "bin/ssh", alias, "true"], check=True, capture_output=True)


def look(folder: Path, alias: str) -> HostKeyOffer:
    loop = LoopThread("ssh")
    try:
        return look_at_host(NodeSpec(alias), SshPlaces.of({"HOME": str(folder)}), {}, folder, loop)
    finally:
        loop.stop()


def host_key(folder: Path) -> HostKey:
    return HostKey.parse((folder / ".ssh/host.pub").read_text())


@pytest.mark.parametrize("hashes", ["no", "yes"])
def test_the_stored_key_of_a_named_machine_is_known(tmp_path: Path, port: int, hashes: str) -> None:
    login(tmp_path, "desk", f"HashKnownHosts {hashes}\n")
    assert ("localhost" in (tmp_path / ".ssh/known").read_text()) == (hashes == "no")
    offer = look(tmp_path, "desk")
    assert (offer.known, offer.host_key) == (True, host_key(tmp_path))
    assert offer.target.endpoint == f"localhost:{port}"


@pytest.mark.parametrize("algorithm", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
def test_a_named_jump_host_with_an_old_and_a_right_key(tmp_path: Path, port: int, algorithm: str) -> None:
    known = tmp_path / ".ssh/known"
    far = f"Host far\nHostName 127.0.0.1\nPort {port}\nProxyJump hop\nUserKnownHostsFile {known}\n"
    login(tmp_path, "hop", far)
    old = asyncssh.generate_private_key(algorithm).export_public_key().decode().strip()
    known.write_text(f"[localhost]:{port} {old}\n{known.read_text()}")
    config = tmp_path / ".ssh/config"
    config.write_text(config.read_text() + f"IdentityFile {tmp_path}/.ssh/mine\n")
    assert subprocess.run([tmp_path / "bin/ssh", "hop", "true"], check=False).returncode == 0
    offer = look(tmp_path, "far")
    assert offer.hops == {f"localhost:{port}": host_key(tmp_path)}
    assert offer.host_key == host_key(tmp_path)
