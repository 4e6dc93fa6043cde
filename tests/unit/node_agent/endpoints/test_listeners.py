"""Whose a listening socket is decides whether a server at a port of this machine is used unasked."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from node_agent.endpoints import listeners as listening
from node_agent.endpoints.listeners import (
    Listener,
    explain_refusal,
    find_stranger,
    is_of_a_run,
    parse_listeners,
    uids_of,
)
from node_agent.shim import shim
from node_agent.shim.process import MARKER

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ONE = (
    "   0: {}:2CAA 00000000:0000 {} 00000000:00000000 00:00000000 00000000  {}        0 77 1 0 100 0 0 10 0\n"
)
HERE, ANY, ELSEWHERE = "0100007F", "00000000", "0500000A"
LISTENS, CONNECTED = "0A", "01"


@pytest.mark.parametrize(
    ("address", "state", "found"),
    [
        (HERE, LISTENS, True), (ANY, LISTENS, True), ("0" * 32, LISTENS, True),
        ("0000000000000000FFFF00000100007F", LISTENS, True), ("0" * 24 + "01000000", LISTENS, True),
        (HERE, CONNECTED, False), (ELSEWHERE, LISTENS, False),
    ],
)  # fmt: skip
def test_who_would_get_a_connection_to_this_machine(address: str, state: str, found: bool) -> None:
    table = HEAD + ONE.format(address, state, 1001)
    assert parse_listeners(table, 0x2CAA) == ([Listener(1001, 77)] if found else [])
    assert parse_listeners(table, 80) == []


@pytest.mark.parametrize(
    ("uids", "own", "of_a_run", "why"),
    [
        ([0], 1000, None, ""),
        ([998], 1000, None, ""),
        ([1000], 1000, False, ""),
        ([0], 0, None, ""),
        ([1000], 1000, True, "part of a run"),
        ([0], 0, True, "part of a run"),
        ([1000], 1000, None, "cannot be found"),
        ([1001], 1000, None, "owned by user"),
        ([0, 1001], 1000, None, "owned by user"),
        ([], 1000, None, "no process"),
    ],
)  # fmt: skip
def test_whose_server_is_used_unasked(uids: list[int], own: int, of_a_run: bool | None, why: str) -> None:
    told = explain_refusal([Listener(uid, 7) for uid in uids], own, [998], lambda inode: of_a_run)
    assert (why in told) if why else told == ""


def test_a_user_that_is_not_known_is_nobody() -> None:
    assert uids_of(["root", 61_001, "no-such-user-here"]) == [0, 61_001]


def test_a_real_socket_is_found_with_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, inode = server.getsockname()[1], os.fstat(server.fileno()).st_ino
        assert is_of_a_run(inode) is False and find_stranger(port, ()) == ""
    assert "no process" in find_stranger(port, ())


LISTEN = """
import socket, sys, time
if len(sys.argv) > 1:
    import os
    os.setuid(int(sys.argv[1]))
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(60)
"""


def _told(*argv: str, env: dict[str, str] | None = None) -> str:
    with subprocess.Popen([sys.executable, "-c", LISTEN, *argv], stdout=subprocess.PIPE, env=env) as server:
        try:
            assert server.stdout is not None
            return find_stranger(int(server.stdout.readline()), ())
        finally:
            server.kill()


def test_a_process_of_a_run_is_none_of_the_owner_s() -> None:
    assert "part of a run" in _told(env={**os.environ, MARKER: "r-aaaa.1.1"})


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_another_user_is_named() -> None:
    assert "owned by user 61301" in _told("61301")


def test_a_shim_is_known_by_the_path_that_it_is_started_by() -> None:
    assert os.fsencode(os.path.realpath(shim.__file__)) == listening.SHIM
