"""Each library error has one meaning, and only what never heals is permanent."""

from __future__ import annotations

import socket

import asyncssh
import pytest

from pancode.fleet.ssh.errors import ConnectError, LinkFault, LinkLost, classify_error, translate_ssh_errors

TABLE = [
    (asyncssh.PermissionDenied("no"), LinkFault.LOGIN_REFUSED, True),
    (asyncssh.HostKeyNotVerifiable("no"), LinkFault.HOST_KEY_UNKNOWN, True),
    (asyncssh.KeyImportError("bad"), LinkFault.BAD_CREDENTIALS, True),
    (TimeoutError(), LinkFault.SILENT, False),
    (ConnectionRefusedError(), LinkFault.REFUSED, False),
    (ConnectionResetError(), LinkFault.LOST, False),
    (socket.gaierror(-2, "unknown"), LinkFault.NAME_UNKNOWN, False),
    (OSError(113, "no route"), LinkFault.UNREACHABLE, False),
    (asyncssh.ConnectionLost("gone"), LinkFault.LOST, False),
    (asyncssh.ChannelOpenError(2, "no"), LinkFault.LOST, False),
    (asyncssh.ChannelListenError("no"), LinkFault.FORWARDING_REFUSED, False),
    (asyncssh.ProtocolError("odd"), LinkFault.PROTOCOL, False),
    (ValueError("ours"), LinkFault.PROTOCOL, False),
]


@pytest.mark.parametrize(("error", "fault", "permanent"), TABLE, ids=lambda v: type(v).__name__)
def test_classify(error: Exception, fault: LinkFault, permanent: bool) -> None:
    ours = classify_error(error)
    assert (ours.fault, ours.permanent, ours.code) == (fault, permanent, fault.value)
    assert str(ours)


def test_ours_stay_as_they_are() -> None:
    lost = LinkLost("x")
    assert classify_error(lost) is lost


def test_translated_keeps_the_cause() -> None:
    with pytest.raises(ConnectError) as caught, translate_ssh_errors():
        raise TimeoutError
    assert isinstance(caught.value.__cause__, TimeoutError)


NETWORK = (
    TimeoutError(),
    ConnectionRefusedError(),
    ConnectionResetError(),
    socket.gaierror(-2, ""),
    OSError(113, ""),
)


@pytest.mark.parametrize("error", NETWORK, ids=lambda v: type(v).__name__)
def test_what_a_user_can_mend_says_how(error: OSError) -> None:
    assert classify_error(error).fix
