"""A host key as a value, and how a presented key compares with the pinned one."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostKey:
    """A server's public host key; `line`: the text form in which a pin is stored."""

    algorithm: str
    blob: str
    """Base64 of the key in SSH wire format."""

    @classmethod
    def parse(cls, line: str) -> HostKey:
        """Parse `ssh-ed25519 AAAA... [comment]`; ValueError for anything else."""
        parts = line.split()
        if len(parts) < 2:
            raise ValueError(f"not a public key line: {line[:80]!r}")
        try:
            blob = base64.b64decode(parts[1], validate=True)
        except binascii.Error as error:
            raise ValueError(f"not a public key line: {line[:80]!r}") from error
        name = parts[0].encode()
        if blob[:4] != len(name).to_bytes(4, "big") or blob[4 : 4 + len(name)] != name:
            raise ValueError(f"the algorithm inside the key is not {parts[0]!r}")
        return cls(parts[0], parts[1])

    @property
    def line(self) -> str:
        return f"{self.algorithm} {self.blob}"

    @property
    def fingerprint(self) -> str:
        """Return `SHA256:...`, as `ssh-keygen -l` prints it."""
        digest = hashlib.sha256(base64.b64decode(self.blob)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """No key is pinned: a user must approve it once."""

    new: HostKey


@dataclass(frozen=True, slots=True)
class Same:
    """The server presents the pinned key."""

    key: HostKey


@dataclass(frozen=True, slots=True)
class Changed:
    """The server presents another key than the pinned one: reinstalled, moved, or an attacker in between."""

    old: HostKey
    new: HostKey


Verdict = UnknownKey | Same | Changed


def compare_keys(pin: HostKey | None, presented: HostKey) -> Verdict:
    """Compare a presented key with the pinned one."""
    if pin is None:
        return UnknownKey(presented)
    return Same(pin) if pin == presented else Changed(pin, presented)
