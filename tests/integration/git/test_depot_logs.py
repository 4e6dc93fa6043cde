"""Logs by offset, over a real unix socket."""

from __future__ import annotations

import json
import os
import select
import socket
from pathlib import Path

import pytest

from node_agent.attempt import ports
from node_agent.attempt.ports import LinkDown, StepFailed
from node_agent.wire.git import AT_ONCE
from node_agent.workspace.depot import read_line, send_data, send_request
from pancode.git.depot_server import FULL, DepotParts, DepotServer, ServerLimits
from pancode.git.log_store import MOST_LOGS, LogStreams
from tests.fakes.node.clock import SeededIds
from tests.integration.git.depot_world import Depots, until
from tests.integration.git.repos import attempt


def test_a_log_grows_by_offset_and_is_whole_at_the_end(world: Depots, tmp_path: Path) -> None:
    port: ports.DepotLink = world.client
    log = tmp_path / "out"
    log.write_bytes(b"one\n")
    port.follow(attempt(), "out", log)
    log.write_bytes(b"one\ntwo\n")
    port.follow(attempt(), "out", log)
    assert world.streams.size(attempt(), "out") == 8
    ends = [world.streams.read(attempt(), "out", -most, most) for most in (4, 8, 100)]
    assert ends == [b"two\n", b"one\ntwo\n", b"one\ntwo\n"], "what a recovery reads of a run that is gone"
    assert world.streams.read(attempt(), "none", -4, 4) == b""
    data = os.urandom(1_000_000)
    log.write_bytes(b"one\ntwo\n" + data)
    blob = port.upload(attempt(), "out", log)
    assert world.streams.log(attempt(), "out").read_bytes() == b"one\ntwo\n" + data
    assert world.streams.arrived(attempt(), "out", blob.size, blob.sha256)
    assert not world.streams.arrived(attempt(), "out", blob.size + 1, blob.sha256)
    assert port.upload(attempt(), "out", log) == blob
    assert world.streams.log(attempt(), "out").parent == world.home / "logs" / "r-aaaa" / "1.1"


def test_an_empty_log_is_whole(world: Depots, tmp_path: Path) -> None:
    empty = tmp_path / "err"
    empty.touch()
    blob = world.client.upload(attempt(), "err", empty)
    assert blob.size == 0


def test_a_log_that_changed_is_refused(world: Depots, tmp_path: Path) -> None:
    log = tmp_path / "out"
    log.write_bytes(b"first version")
    world.client.follow(attempt(), "out", log)
    log.write_bytes(b"OTHER version, longer")
    with pytest.raises(StepFailed, match="the git depot's copy of out differs"):
        world.client.upload(attempt(), "out", log)
    log.write_bytes(b"short")
    with pytest.raises(StepFailed, match="but this node has 5"):
        world.client.upload(attempt(), "out", log)


def _append(peer: socket.socket, offset: int, data: bytes) -> dict[str, object]:
    send_data(
        peer,
        json.dumps({"op": "append", "name": "out", "offset": offset, "length": len(data)}).encode() + b"\n",
    )
    answer = dict(read_line(peer))
    if not answer.get("go"):
        return answer
    send_data(peer, data)
    return dict(read_line(peer))


def test_gap_overlap_and_difference(world: Depots) -> None:
    peer = world.client._listener.open("log", attempt())
    assert _append(peer, 0, b"abcdef") == {"ok": True, "size": 6}
    assert _append(peer, 7, b"x")["size"] == 6
    assert _append(peer, 3, b"defghi") == {"ok": True, "size": 9}
    assert _append(peer, 2, b"cd") == {"ok": True, "size": 9}
    refused = _append(peer, 3, b"dXfghijkl")
    assert (refused["ok"], refused["size"]) == (False, 9)
    assert world.streams.log(attempt(), "out").read_bytes() == b"abcdefghi"
    world.max_bytes = 10
    peer.close()
    peer = world.client._listener.open("log", attempt())
    assert _append(peer, 9, b"too much")["ok"] is False
    peer.close()


def test_a_torn_append_is_kept_and_continued(world: Depots, tmp_path: Path) -> None:
    peer = world.client._listener.open("log", attempt())
    send_data(peer, b'{"op":"append","name":"out","offset":0,"length":10}\n')
    read_line(peer)
    send_data(peer, b"abc")
    peer.close()
    until(lambda: any("TornStream" in end.problem for end in world.ends))
    log = tmp_path / "out"
    log.write_bytes(b"abcdefghij")
    world.client.upload(attempt(), "out", log)
    assert world.streams.log(attempt(), "out").read_bytes() == b"abcdefghij"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "..", ".hidden", "", "-x", "a\0b", "x\n"])
def test_a_name_that_is_no_plain_name_is_refused(name: str, world: Depots) -> None:
    peer = world.client._listener.open("log", attempt())
    with pytest.raises(LinkDown):
        send_request(peer, op="size", name=name)
    peer.close()
    assert not (world.home / "logs").exists()


@pytest.mark.parametrize(
    "line",
    [
        b"[]\n",
        b"nonsense\n",
        b'{"op":"blob"}\n',
        b'{"op":"append","name":"x","offset":-1,"length":1}\n',
        b"x" * 20_000,
    ],
)
def test_a_request_that_is_none_ends_the_stream(line: bytes, world: Depots) -> None:
    peer = world.client._listener.open("log", attempt())
    send_data(peer, line)
    assert select.select([peer], [], [], 5.0)[0]
    with pytest.raises(LinkDown):
        read_line(peer)
    peer.close()
    assert world.ended(1)[0].problem


def test_a_link_is_not_uploaded(world: Depots, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "out").symlink_to(tmp_path / "secret")
    with pytest.raises(StepFailed, match="cannot read"):
        world.client.upload(attempt(), "out", tmp_path / "out")


def test_all_logs_of_an_attempt_share_its_bound(world: Depots) -> None:
    world.max_bytes = 10
    peer = world.client._listener.open("log", attempt())
    assert _append(peer, 0, b"123456")["ok"] is True
    asked = {"op": "append", "name": "err", "offset": 0, "length": 5}
    send_data(peer, json.dumps(asked).encode() + b"\n")
    assert read_line(peer)["ok"] is False
    assert _append(peer, 6, b"7890") == {"ok": True, "size": 10}
    peer.close()


def test_an_attempt_has_only_so_many_logs(world: Depots) -> None:
    folder = world.streams.log(attempt(), "out").parent
    folder.mkdir(parents=True)
    for number in range(MOST_LOGS):
        (folder / f"log{number}").touch()
    peer = world.client._listener.open("log", attempt())
    assert "maximum" in str(_append(peer, 0, b"x")["why"])
    peer.close()
    assert len(list(folder.iterdir())) == MOST_LOGS


def test_a_node_cannot_take_the_last_of_our_disk(world: Depots, tmp_path: Path) -> None:
    world.server.stop()
    told: list[tuple[str, str]] = []
    parts = DepotParts(
        world.depot,
        LogStreams(world.home, keep_free=1 << 60),
        world.authorize,
        SeededIds(),
        world.ends.append,
        lambda grant, why: told.append((grant.identity.run, why)),
    )
    server = DepotServer(world.socket, parts)
    server.start()
    try:
        log = tmp_path / "out"
        log.write_bytes(b"x")
        with pytest.raises(LinkDown, match="disk is full"):
            world.client.upload(attempt(), "out", log)
        assert told == [(attempt().run, FULL)]
        world.client._listener.open("fetch", attempt()).close()
        assert len(told) == 1, "what takes nothing of it is not held up"
    finally:
        server.stop()
    with pytest.raises(OSError, match="must stay free"):
        LogStreams(world.home, keep_free=1 << 60).must_have_room(1)


def test_the_same_bytes_are_read_once_and_changed_ones_again(world: Depots, tmp_path: Path) -> None:
    log = tmp_path / "out"
    log.write_bytes(b"one")
    blob = world.client.upload(attempt(), "out", log)
    assert world.streams.arrived(attempt(), "out", blob.size, blob.sha256)
    stored = world.streams.log(attempt(), "out")
    stored.write_bytes(b"two")
    os.utime(stored, ns=(1, 1))
    assert not world.streams.arrived(attempt(), "out", blob.size, blob.sha256)


def grows(world: Depots, log: Path, *pieces: bytes) -> bytes:
    """What the depot has of a log that an interactive run writes piece by piece; each of them is sent."""
    vars(world.server)["_limits"] = ServerLimits()  # nobody is so quiet, however slow the machine is
    for piece in pieces:
        with log.open("ab") as file:
            file.write(piece)
        world.client.follow(attempt(), "out", log, stays=True)
    return world.streams.log(attempt(), "out").read_bytes()


def test_the_pieces_of_an_interactive_run_go_over_one_stream_and_ring(world: Depots, tmp_path: Path) -> None:
    log, err, grown = tmp_path / "out", tmp_path / "err", list[str]()
    world.streams.listeners.append(grown.append)
    err.write_bytes(b"a warning")
    assert grows(world, log, b"one ", b"two ") == b"one two "
    world.client.follow(attempt(), "err", err, stays=True)
    assert grows(world, log, b"three", b"x" * (AT_ONCE + 1), b"!")[-2:] == b"x!"
    assert world.streams.log(attempt(), "err").read_bytes() == b"a warning"
    assert world.hellos == 1 and grown == ["r-aaaa"] * 6
    blob = world.client.upload(attempt(), "out", log)
    assert world.streams.arrived(attempt(), "out", blob.size, blob.sha256)
    until(lambda: len(world.ends) == 2)
    assert [end.problem for end in world.ends] == ["", ""]


def test_an_interactive_run_goes_on_after_a_quiet_time(world: Depots, tmp_path: Path) -> None:
    assert grows(world, tmp_path / "out", b"one ") == b"one "
    for peer in list(vars(world.server)["_open"].values()):
        peer.settimeout(0.1)  # it is quiet for too long after what it reads next
    assert grows(world, tmp_path / "out", b"two ") == b"one two "
    assert world.ended(1)[0].problem == "", "the depot has closed what was quiet, and that is not a trouble"
    assert grows(world, tmp_path / "out", b"three") == b"one two three"
    assert world.hellos == 2


def test_the_stream_of_an_interactive_run_that_is_over_is_closed(world: Depots, tmp_path: Path) -> None:
    grows(world, tmp_path / "out", b"one ")
    world.client.close_others([attempt()])
    assert grows(world, tmp_path / "out", b"two ") == b"one two " and world.hellos == 1
    world.client.close_others([])
    assert world.ended(1)[0].problem == ""
    assert grows(world, tmp_path / "out", b"three") == b"one two three" and world.hellos == 2


def test_an_interactive_run_goes_on_where_the_depot_is_after_both_ends_were_gone(
    world: Depots, tmp_path: Path
) -> None:
    log = tmp_path / "out"
    assert grows(world, log, b"one ", b"two ") == b"one two "
    world.server.stop()
    with pytest.raises(LinkDown):
        grows(world, log, b"three ")
    world.server.start()
    assert grows(world, log, b"four ") == b"one two three four "
    world.client = world.another_client(lambda: world.socket)  # a new node agent
    assert grows(world, log, b"five ") == b"one two three four five "


def test_an_interactive_run_takes_the_link_that_is_there_now(world: Depots, tmp_path: Path) -> None:
    places = [world.socket, tmp_path / "s" / "nobody"]
    world.client = world.another_client(lambda: places[0])
    grows(world, tmp_path / "out", b"one ")
    places.reverse()
    with pytest.raises(LinkDown):
        grows(world, tmp_path / "out", b"two ")
    places.reverse()
    assert grows(world, tmp_path / "out", b"three") == b"one two three"


def test_refused_bytes_that_came_at_once_are_no_requests(world: Depots) -> None:
    world.max_bytes = 10
    peer = world.client._listener.open("log", attempt())
    forged = b'{"op":"append","name":"err","offset":0,"length":1,"now":true}\nx'
    asked = {"op": "append", "name": "out", "offset": 0, "length": len(forged), "now": True}
    send_data(peer, json.dumps(asked).encode() + b"\n" + forged)
    assert read_line(peer)["ok"] is False
    assert send_request(peer, op="size", name="err")["size"] == 0
    send_data(peer, json.dumps({**asked, "length": AT_ONCE + 1}).encode() + b"\n")
    with pytest.raises(LinkDown):
        read_line(peer)
    peer.close()
