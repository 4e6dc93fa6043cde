"""Reads host keys from the known_hosts files of the user and the system."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import asyncssh

from pancode.fleet.ssh.connection import as_host_key
from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.target import Target


def known_keys(target: Target, home: Path) -> list[HostKey]:
    """Return the plain keys for this host from the user's files and the system's, in order."""
    found = list[HostKey]()
    usual = (str(home / ".ssh/known_hosts"), "/etc/ssh/ssh_known_hosts")
    name, port = (target.key_name, None) if target.key_name else (target.host, target.port)
    for file in target.known_hosts or usual:
        try:
            known = asyncssh.read_known_hosts(file)
        except (OSError, ValueError):
            continue
        found += map(as_host_key, known.match(name, "" if target.key_name else name, port)[0])
    return list(dict.fromkeys(found))


def refuse_revoked(target: Target, key: HostKey) -> None:
    """Raise ConnectError if the user's RevokedHostKeys has the key, or cannot be read."""
    if not target.revoked:
        return
    try:
        content = Path(target.revoked).read_bytes()
    except OSError as exc:
        why = str(exc)
    else:
        why = _find_revoked(target.revoked, content, key)
    if why:
        raise ConnectError(
            LinkFault.HOST_KEY_UNKNOWN,
            f"the host key of {target.alias} is revoked, or the list of revoked keys cannot be read",
            why=why,
            fix=f"check the key {key.fingerprint} and RevokedHostKeys: {target.revoked}",
        )


def _find_revoked(path: str, content: bytes, key: HostKey) -> str:
    """Return why the list revokes the key; empty if it does not. The list is text, or a binary KRL."""
    if not content.startswith(b"SSHKRL\n"):
        return f"{path} has this key" if key.blob.encode() in content.split() else ""
    with tempfile.NamedTemporaryFile("w", suffix=".pub") as file:
        file.write(f"{key.line}\n")
        file.flush()
        argv = ["ssh-keygen", "-Q", "-f", path, file.name]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return " ".join(f"{done.stdout} {done.stderr}".split())[:300] if done.returncode else ""
