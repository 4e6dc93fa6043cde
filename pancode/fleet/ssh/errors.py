"""Errors between the coordinator and a node, as types with a reason and a fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import asyncssh

from pancode.kernel.errors import ConfigError, UnavailableError


class LinkFault(StrEnum):
    """The reason why there is no connection to a node. The first group never recovers without a change."""

    HOST_KEY_CHANGED = "host_key_changed"
    HOST_KEY_UNKNOWN = "host_key_unknown"
    LOGIN_REFUSED = "login_refused"
    BAD_CREDENTIALS = "bad_credentials"
    FENCED = "fenced"
    FOREIGN_CLAIM = "foreign_claim"

    SILENT = "silent"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NAME_UNKNOWN = "name_unknown"
    LOST = "lost"
    FORWARDING_REFUSED = "forwarding_refused"
    HOME_UNUSABLE = "home_unusable"
    PROTOCOL = "protocol"


PERMANENT = frozenset(
    {
        LinkFault.HOST_KEY_CHANGED,
        LinkFault.HOST_KEY_UNKNOWN,
        LinkFault.LOGIN_REFUSED,
        LinkFault.BAD_CREDENTIALS,
        LinkFault.FENCED,
        LinkFault.FOREIGN_CLAIM,
    }
)
"""Retries are useless or harmful: after repeated failed logins the server blocks the coordinator."""
LOGINS = frozenset({LinkFault.LOGIN_REFUSED, LinkFault.BAD_CREDENTIALS})
"""Another login session of the user may provide what is missing."""
SLOW = frozenset({LinkFault.FORWARDING_REFUSED, LinkFault.HOME_UNUSABLE})
"""Only a change by a user fixes these: they are retried rarely, and no caller waits for them."""


class SshError(UnavailableError):
    """Communication with the node over SSH failed."""

    code = "ssh"

    @property
    def message(self) -> str:
        return str(self)


class TargetError(ConfigError):
    """The alias cannot be resolved to one node that is reachable as its owner intended."""

    code = "ssh_target"


class ConnectError(SshError):
    """There is no connection to the node, or only one that must not be used."""

    def __init__(self, fault: LinkFault, message: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(message, why=why, fix=fix)
        self.fault = fault

        self.code = fault.value

    @property
    def permanent(self) -> bool:
        return self.fault in PERMANENT

    def fix_at(self, node: str) -> str:
        """Return the fix, with the node's name in its commands."""
        return self.fix.replace("NODE", node).replace("ssh HOST ", f"ssh {node} ")


_AGAIN = "check by hand that the connection stays up (ssh HOST true), then run the same command again"


class LinkLost(ConnectError):
    """The connection was lost while it was in use: whether the command took effect is unknown."""

    def __init__(self, why: str) -> None:
        super().__init__(LinkFault.LOST, "the connection to the node was lost", why=why, fix=_AGAIN)


class RemoteFailed(SshError):
    """A command on the node failed; `status` is its exit status, None if a signal ended it."""

    def __init__(self, message: str, *, status: int | None, why: str = "", fix: str = "") -> None:
        super().__init__(message, why=why, fix=fix)
        self.status = status


class TransferFailed(SshError):
    """A file could not be written to the node."""


_REFUSED_LOGIN = (
    "run `ssh` to this host once by hand, or set a key (IdentityFile) in ~/.ssh/config; if that key is "
    "correct, check that the server's sshd_config allows this user (AllowUsers, AllowGroups), on the node: "
    "sudo sshd -T | grep -E 'allow|deny'"
)


_START_SSHD = "start the SSH server on the node (systemctl start ssh), or set its Port in ~/.ssh/config"
_WAKE = "check that it is on and reachable from this network, then run the same command again"


def classify_error(error: BaseException) -> ConnectError:
    """Turn any error of a connection attempt or of a live connection into a ConnectError."""
    if isinstance(error, ConnectError):
        return error
    if isinstance(error, asyncssh.PermissionDenied):
        return ConnectError(
            LinkFault.LOGIN_REFUSED, "the node refused the login", why=str(error), fix=_REFUSED_LOGIN
        )
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return ConnectError(LinkFault.HOST_KEY_UNKNOWN, "the host key is not trusted", why=str(error))
    if isinstance(error, asyncssh.KeyImportError | asyncssh.KeyEncryptionError):
        return ConnectError(LinkFault.BAD_CREDENTIALS, "cannot use a private key", why=str(error))
    if isinstance(error, OSError):
        text = str(error)
        if isinstance(error, TimeoutError):
            return ConnectError(LinkFault.SILENT, "the node did not respond in time", why=text, fix=_WAKE)
        if isinstance(error, ConnectionRefusedError):
            message = "the node refused the connection: no SSH server on that port"
            return ConnectError(LinkFault.REFUSED, message, why=text, fix=_START_SSHD)
        if isinstance(error, ConnectionError):
            return ConnectError(LinkFault.LOST, "the connection was lost", why=text, fix=_WAKE)
        if type(error).__name__ == "gaierror":
            fix = "check the name, or set the node's address as HostName in ~/.ssh/config"
            return ConnectError(LinkFault.NAME_UNKNOWN, "cannot resolve the host name", why=text, fix=fix)
        return ConnectError(LinkFault.UNREACHABLE, "cannot reach the node", why=text, fix=_WAKE)
    if isinstance(error, asyncssh.ChannelListenError):
        return ConnectError(
            LinkFault.FORWARDING_REFUSED,
            "the node's SSH server forbids every kind of forwarding",
            why=str(error),
            # OpenSSH also refuses Unix sockets if AllowTcpForwarding is off (measured with 9.2).
            fix="set `AllowTcpForwarding remote` (or yes) and no `DisableForwarding` in the node's "
            "sshd_config",
        )
    if isinstance(error, asyncssh.ConnectionLost | asyncssh.ChannelOpenError):
        return LinkLost(str(error))
    return ConnectError(
        LinkFault.PROTOCOL, "the SSH connection failed", why=f"{type(error).__name__}: {error}"
    )


@contextmanager
def translate_ssh_errors() -> Iterator[None]:
    """Convert the SSH library's errors in the block to ConnectError, including timeouts and lost links."""
    try:
        yield
    except SshError:
        raise
    except (OSError, asyncssh.Error, asyncssh.ChannelListenError, asyncssh.KeyImportError) as error:
        raise classify_error(error) from error
