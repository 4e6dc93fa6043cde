"""Decides which private keys and which SSH agent a login uses; explains each one that cannot be used."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from typing import Any

import asyncssh

from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.target import Target

_DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")
_MAGIC = b"openssh-key-v1\0"


@dataclass(frozen=True, slots=True)
class SshLogin:
    """Our keys besides the target's own identities; `home` is the folder of the default keys."""

    home: str | None = None
    keys: tuple[str, ...] = ()
    """Private keys (OpenSSH PEM text), tried first: the fleet key, the loopback key."""
    own_only: bool = False
    """Only `keys`: no files of the user, no agent."""


def encrypted(text: str) -> bool:
    """Whether a private key file needs a passphrase, which nobody is there to type."""
    lines = text.strip().splitlines()
    if not lines or "OPENSSH PRIVATE KEY" not in lines[0]:
        return "ENCRYPTED" in text[:400]
    try:
        blob = base64.b64decode("".join(lines[1:-1]))
    except binascii.Error:
        return False
    if not blob.startswith(_MAGIC):
        return False
    at = len(_MAGIC)
    size = int.from_bytes(blob[at : at + 4], "big")
    return blob[at + 4 : at + 4 + size] != b"none"


def keys(target: Target, login: SshLogin) -> dict[str, Any]:
    """asyncssh's arguments for keys and agent. ConnectError(BAD_CREDENTIALS) when there is nothing to use."""
    own = [asyncssh.import_private_key(text) for text in login.keys]
    if login.own_only:
        return {"client_keys": own, "agent_path": None}
    named = target.identities or _default_identities(login.home)
    files = [p for p in named if os.path.isfile(p)]
    usable = [p for p in files if _is_usable(p)]
    halves = _public_halves(files) if target.identities_only else []
    agent = target.agent_path if halves or not target.identities_only else None
    if not own and not usable and not agent:
        raise _nothing(target, named, files)
    return {
        # None would switch the agent off as well; an empty list lets asyncssh look at the default keys.
        "client_keys": [*own, *usable],
        "client_certs": [p for p in target.certificates if os.path.isfile(p)],
        "ignore_encrypted": True,
        "agent_path": agent,
        "agent_identities": halves or None,
    }


def _is_usable(path: str) -> bool:
    """A private key without a passphrase; public halves (for the agent) and locked keys are not."""
    text = _text(path)
    return "PRIVATE KEY" in text and not encrypted(text)


def _default_identities(home: str | None) -> tuple[str, ...]:
    folder = os.path.join(home or os.path.expanduser("~"), ".ssh")
    return tuple(p for name in _DEFAULTS if os.path.isfile(p := os.path.join(folder, name)))


def _public_halves(files: list[str]) -> list[str]:
    """The agent's keys when only named identities may be used; an identity may be a .pub file."""
    halves = [p if p.endswith(".pub") else p + ".pub" for p in files]
    return [p for p in halves if os.path.isfile(p)]


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(64 << 10)
    except OSError as error:
        raise ConnectError(
            LinkFault.BAD_CREDENTIALS,
            f"the key file {path} cannot be read",
            why=str(error),
            fix=f"chmod u+r {path}",
        ) from error


def _nothing(target: Target, named: tuple[str, ...], files: list[str]) -> ConnectError:
    if files:
        message = f"the key {files[0]} needs a passphrase, and no SSH agent has it"
        return ConnectError(
            LinkFault.BAD_CREDENTIALS, message, fix=f'eval "$(ssh-agent)"; ssh-add {files[0]}'
        )
    looked = ", ".join(named) or "~/.ssh/id_ed25519, ..."
    return ConnectError(
        LinkFault.BAD_CREDENTIALS,
        f"no key to log in to {target.alias} with",
        why=f"no file {looked}, no SSH agent",
        fix="make a key (ssh-keygen), name one with --identity, or start an SSH agent",
    )
