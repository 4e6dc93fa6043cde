"""The fix for what a node's trial connection reports."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from node_agent.link import direct
from node_agent.workspace.depot import read_line
from node_agent.workspace.git import DepotUnavailable
from pancode.fleet.ssh import links
from pancode.fleet.ssh.tunnel import Pass

PASS = Pass("10.0.0.1:7440", "", "", 0, 0, 0, "direct.listen", "n1")


@pytest.mark.parametrize("read", [read_line, direct._check_let_in])
def test_a_server_that_is_not_ours_is_named_as_that(read: Callable[[Any], object]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises((DepotUnavailable, ConnectionError)) as error:
        theirs.sendall(b"[]\n")
        read(ours)
    fix = links._find_fix(str(error.value), 0, PASS)
    assert fix.startswith("a server other than this coordinator answers at the address in direct.listen")
