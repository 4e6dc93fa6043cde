"""Reads host keys from the known_hosts files of the user and the system."""

from __future__ import annotations

from pathlib import Path

import asyncssh

from pancode.fleet.ssh.connection import as_host_key
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.target import Target


def known_keys(target: Target, home: Path) -> list[HostKey]:
    """Return the plain keys for this host from the user's files and the system's, in order."""
    found = list[HostKey]()
    usual = (str(home / ".ssh/known_hosts"), "/etc/ssh/ssh_known_hosts")
    name, port = (target.key_name, None) if target.key_name else (target.host, target.port)
    for file in usual if target.known_hosts is None else target.known_hosts:
        try:
            known = asyncssh.read_known_hosts(file)
        except (OSError, ValueError):
            continue
        found += map(as_host_key, known.match(name, "" if target.key_name else name, port)[0])
    return list(dict.fromkeys(found))
