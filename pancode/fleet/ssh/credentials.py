"""Decides which private keys and which SSH agent a login uses, and reports each key that cannot be used."""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncssh

from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.target import Target

_DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")
_MAGIC = b"openssh-key-v1\0"


@dataclass(frozen=True, slots=True)
class SshLogin:
    """The keys for logins: `keys` of the fleet, and the target's own; `home` contains the default keys."""

    home: str | None = None
    keys: tuple[str, ...] = ()
    """Private keys (OpenSSH PEM text) that are tried first: the fleet key, the loopback key."""
    own_only: bool = False
    """Use only `keys`: no files of the user, and no SSH agent."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """The variables of the login session, to which the target's paths refer; also for a ProxyCommand."""


def is_encrypted(text: str) -> bool:
    """Whether a private key file needs a passphrase, which no user is present to enter."""
    lines = text.strip().splitlines()
    if not lines or "OPENSSH PRIVATE KEY" not in lines[0]:
        return "ENCRYPTED" in text[:400]
    try:
        return _split_key(text)[0] != b"none"
    except (ValueError, struct.error):
        return False


@dataclass(frozen=True, slots=True)
class OfferedKeys:
    """The keys of one login; explicitly named keys come before the agent's other keys. A server counts each
    unknown key as a failed login, and disconnects after several."""

    pairs: tuple[asyncssh.SSHKeyPair, ...] = ()
    agent_path: str | None = None
    named: tuple[bytes, ...] = ()
    """Public halves of the named identities; the agent's keys with these halves come first."""
    only_named: bool = False
    lack: ConnectError | None = None
    """The error if the server refuses and no key could be offered; login is still tried: some servers need no
    key."""

    async def of_agent(self, agent: asyncssh.SSHAgentClient) -> list[asyncssh.SSHKeyPair]:
        """Return the agent's keys in order, without those that were already offered from a file."""
        had = {pair.public_data for pair in self.pairs}
        found = [pair for pair in await agent.get_keys() if pair.public_data not in had]
        first = [pair for pair in found if pair.public_data in self.named]
        return first if self.only_named else [*first, *(pair for pair in found if pair not in first)]


def find_keys(target: Target, login: SshLogin) -> OfferedKeys:
    """Return the keys for a login at the target. ConnectError(BAD_CREDENTIALS) for an unreadable file."""
    own = [asyncssh.import_private_key(text) for text in login.keys]
    if login.own_only:
        return OfferedKeys(tuple(asyncssh.load_keypairs(own)))
    named = target.identities or _default_identities(login.home)
    files = [p for p in named if os.path.isfile(p)]
    usable = [p for p in files if _is_usable(p)]
    # The agent's keys are selected by the named identities, also by one whose private half it alone has.
    halves = [half for p in named if (half := _read_public_half(p)) is not None]
    agent = target.agent_path if halves or not target.identities_only else None
    certificates = [p for p in target.certificates if os.path.isfile(p)]
    pairs = asyncssh.load_keypairs([*own, *usable], None, certificates, ignore_encrypted=True)
    pairs = [pair for pair in pairs if not pair.algorithm.startswith(b"sk-")]  # only the agent can use these
    return OfferedKeys(
        tuple(pairs),
        agent,
        tuple(halves),
        target.identities_only,
        None if pairs or agent else _make_key_error(target, named, files),
    )


def _read_public_half(path: str) -> bytes | None:
    """Return the public half of an identity: of its .pub file, of itself if it is one, or of a private key in
    OpenSSH's format, which has its public half unencrypted; None if there is none."""
    for place in (path if path.endswith(".pub") else f"{path}.pub", path):
        try:
            with open(place, encoding="utf-8", errors="replace") as file:
                text = file.read(64 << 10)
            if "OPENSSH PRIVATE KEY" in text:
                return _split_key(text)[1]
            return asyncssh.import_public_key(text).public_data
        except (OSError, ValueError, struct.error):
            continue
    return None


def _split_key(text: str) -> tuple[bytes, bytes]:
    """Return cipher and public half of a private key in OpenSSH's format. ValueError, struct.error."""
    blob = base64.b64decode("".join(text.strip().splitlines()[1:-1]))
    if not blob.startswith(_MAGIC):
        raise ValueError("not a private key of OpenSSH")
    at, parts = len(_MAGIC), list[bytes]()
    for skipped in (0, 0, 0, 4):  # cipher, key derivation and its options; then the number of keys
        (size,) = struct.unpack_from(">I", blob, at + skipped)
        at += skipped + 4 + size
        parts.append(blob[at - size : at])
    return parts[0], parts[3]


def make_lack_error(target: Target) -> ConnectError:
    """Return the error of a login that the user's login session no longer provides for."""
    return ConnectError(
        LinkFault.BAD_CREDENTIALS,
        f"the login to {target.alias} needs values of a login session that has ended",
        why="; ".join(target.lacks),
        fix="in a terminal where these are set and `ssh-add -l` lists the key: pancode fleet up NODE",
    )


def _is_usable(path: str) -> bool:
    """Whether the file is a private key without a passphrase; public halves (for the agent) are not."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(64 << 10)
    except OSError as error:
        raise ConnectError(
            LinkFault.BAD_CREDENTIALS,
            f"cannot read the key file {path}",
            why=str(error),
            fix=f"chmod u+r {path}",
        ) from error
    return "PRIVATE KEY" in text and not is_encrypted(text)


def _default_identities(home: str | None) -> tuple[str, ...]:
    folder = os.path.join(home or os.path.expanduser("~"), ".ssh")
    return tuple(p for name in _DEFAULTS if os.path.isfile(p := os.path.join(folder, name)))


def _make_key_error(target: Target, named: tuple[str, ...], files: list[str]) -> ConnectError:
    if target.lacks:
        return make_lack_error(target)
    if files:
        message = f"the key {files[0]} needs a passphrase or a security key, and no SSH agent has the key"
        return ConnectError(
            LinkFault.BAD_CREDENTIALS, message, fix=f'eval "$(ssh-agent)"; ssh-add {files[0]}'
        )
    looked = ", ".join(named) or "~/.ssh/id_ed25519, ..."
    return ConnectError(
        LinkFault.BAD_CREDENTIALS,
        f"no SSH key found to log in to {target.alias}",
        why=f"{looked} not found, and no SSH agent",
        fix="create a key (ssh-keygen), name one (IdentityFile) in ~/.ssh/config, or start an SSH agent",
    )
