"""Checks a host key against the user's list of revoked keys (RevokedHostKeys)."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.hostkey import HostKey

ASK_S = 20.0
"""Seconds that ssh-keygen may take."""


def refuse_revoked(alias: str, revoked: str, key: HostKey) -> None:
    """Raise ConnectError if the user's RevokedHostKeys has the key, or cannot be read."""
    if not revoked:
        return
    try:
        content = Path(revoked).read_bytes()
    except OSError as exc:
        why = str(exc)
    else:
        why = _find_revoked(revoked, content, key)
    if why:
        raise ConnectError(
            LinkFault.HOST_KEY_UNKNOWN,
            f"the host key of {alias} is revoked, or the list of revoked keys cannot be read",
            why=why,
            fix=f"check the key {key.fingerprint} and RevokedHostKeys: {revoked}",
        )


def _find_revoked(path: str, content: bytes, key: HostKey) -> str:
    """Return why the list revokes the key; empty if it does not. The list is text, or a binary KRL."""
    if not content.startswith(b"SSHKRL\n"):
        return f"{path} has this key" if key.blob.encode() in content.split() else ""
    with tempfile.NamedTemporaryFile("w", suffix=".pub") as file:
        file.write(f"{key.line}\n")
        file.flush()
        argv = ["ssh-keygen", "-Q", "-f", path, file.name]
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ASK_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            return str(exc)
    return " ".join(f"{done.stdout} {done.stderr}".split())[:300] if done.returncode else ""
