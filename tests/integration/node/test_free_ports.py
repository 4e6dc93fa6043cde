"""Ports of a real machine: those that a program listens on are never reserved."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from node_agent.attempt.ports import StepFailed
from node_agent.wire.identity import AttemptId
from node_agent.workspace.workspaces import reserve_ports

ONE, TWO = AttemptId.parse("r-aaaa.1.1"), AttemptId.parse("r-bbbb.1.1")


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_that_a_program_listens_on_is_left_out(
    tmp_path: Path, family: socket.AddressFamily, host: str
) -> None:
    with socket.socket(family) as there:
        there.bind((host, 0))
        there.listen()
        port = there.getsockname()[1]
        with pytest.raises(StepFailed, match="no 1 free ports"):
            reserve_ports(tmp_path, ONE, 1, lambda: {str(ONE)}, port, port + 1)
    assert reserve_ports(tmp_path, ONE, 1, lambda: {str(ONE)}, port, port + 1) == (port,)
    with pytest.raises(StepFailed):
        reserve_ports(tmp_path, TWO, 1, lambda: {str(ONE), str(TWO)}, port, port + 1)
    assert reserve_ports(tmp_path, TWO, 1, lambda: {str(TWO)}, port, port + 1) == (port,)
