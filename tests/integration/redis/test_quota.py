"""A node's own user fills real servers by every key and connection that it may: the others continue."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from node_agent.wire import keys
from node_agent.wire.failure import Outcome
from node_agent.wire.identity import AttemptId
from pancode.app.schema import SCHEMA
from pancode.kernel.host.disk_use import bytes_in
from pancode.kernel.host.files import FileArchive
from pancode.kernel.quota import ForeignReceipts
from pancode.kernel.records import Run
from pancode.queue.node_rights import node_rules
from pancode.runs.core import ControlSettings
from pancode.runs.nodes import quota
from pancode.store.ledger import SqlLedger
from tests.integration.redis.conftest import PASSWORD, TAG, Site
from tests.integration.redis.test_rights import as_node
from tests.unit.pancode.runs.world import Desk, Fleet

QUOTA = 4 * 2**20
PIECE = b"x" * 2**18
Flood = Callable[[Any, str, int], Any]

FLOODS: dict[str, Flood] = {
    "one stream": lambda c, tag, n: c.execute_command("XADD", keys.up_stream(tag), "*", "e", PIECE),
    "many jobs": lambda c, tag, n: c.execute_command("HSET", f"rq:job:{tag}_{n}", "a", PIECE),
    "fields of one job": lambda c, tag, n: c.execute_command("HSET", f"rq:job:{tag}_1", n, PIECE),
    "streams in jobs": lambda c, tag, n: c.execute_command("XADD", f"rq:job:{tag}_\n{n}", "*", "e", PIECE),
    "executions": lambda c, tag, n: c.execute_command("ZADD", f"rq:executions:{tag}_1", n, PIECE + b"%d" % n),
    "execution": lambda c, tag, n: c.execute_command("HSET", f"rq:execution:{tag}_{n}", "a", PIECE),
    "results": lambda c, tag, n: c.execute_command("XADD", f"rq:results:{tag}_{n}", "*", "e", PIECE),
    "the worker": lambda c, tag, n: c.execute_command("HSET", f"rq:worker:{tag}", n, PIECE),
    "the heartbeat": lambda c, tag, n: c.execute_command("SET", keys.heartbeat_key(tag), PIECE * (n + 1)),
    "the facts": lambda c, tag, n: c.execute_command("SET", keys.profile_key(tag), PIECE * (n + 1)),
    "a registry": lambda c, tag, n: c.execute_command(
        "ZADD", f"rq:finished:{keys.node_queue(tag)}", n, PIECE + b"%d" % n
    ),
}


class RealRedis:
    """A real server in the place of the memory store, for the coordinator and the puppets of unit tests."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def bus(self) -> Any:
        return self._site.bus

    def uplink(self, tag: str) -> Any:
        return self._site.uplink(tag)


class RealFleet(Fleet):
    """Over a real server; with a `folder`, its ledger and archive are real ones, too."""

    def __init__(self, site: Site, folder: Path | None = None) -> None:
        self.site, desk = site, Desk(redis=RealRedis(site))
        if folder is not None:
            real: Any = SqlLedger(folder / "ledger.db", SCHEMA), FileArchive(folder / "receipts", desk.clock)
            desk.ledger, desk.archive = real
            site.opened.append(desk.ledger)
        desk.rules = replace(desk.rules, node_quota=QUOTA)
        desk.restart()
        super().__init__(desk, PASSWORD)

    def left(self) -> list[bytes]:
        """Keys that the flooding node made, or could have made."""
        mine = self.bad.tag.encode()
        ours = {
            keys.coordinator_heartbeat_key(self.bad.tag).encode(),
            keys.down_stream(self.bad.tag).encode(),
        }
        ours.add(b"rq:workers:" + keys.node_queue(self.bad.tag).encode())
        return [key for key in self.site.admin.scan_iter() if mine in key and key not in ours]


@pytest.mark.parametrize("path", FLOODS)
def test_every_key_that_it_may_write_is_weighed(path: str, site: Site) -> None:
    fleet = RealFleet(site)
    client = as_node(site, fleet.bad.tag)
    for number in range(24):
        FLOODS[path](client, fleet.bad.tag, number)
    fleet.coordinator.turn()
    assert re.match(
        r"the node stored \d+ MiB in Redis \(\d+ keys?.*\), and may keep 4 MiB", fleet.quarantined() or ""
    )
    with pytest.raises(redis.RedisError):
        client.ping()
    assert fleet.left() == []
    fleet.still_works()


def test_no_pattern_of_its_rights_is_forgotten(site: Site) -> None:
    """Whatever a later change lets it write must be weighed, too."""
    words = " ".join(node_rules(TAG, PASSWORD)).replace("(", " ").replace(")", " ").split()
    patterns = {word[1:] for word in words if word.startswith("~")}
    assert len(patterns) >= 10
    for pattern in patterns:
        site.admin.set(pattern.replace("*", "any"), "x")
    assert site.bus.weigh()[TAG].keys == len(patterns)


def test_what_the_coordinator_alone_writes_is_not_held_against_it(site: Site) -> None:
    site.admin.set(keys.coordinator_heartbeat_key(TAG), PIECE)
    site.admin.xadd(keys.down_stream(TAG), {"e": PIECE})
    site.admin.set("rq:job:ticket_r-0001_1", PIECE)
    site.admin.set("somebody:else", PIECE)
    assert site.bus.weigh() == {}


def test_a_server_that_is_full_to_the_last_byte(site: Site) -> None:
    """Nothing can be written any more, and the coordinator still ends it."""
    fleet = RealFleet(site)
    client = as_node(site, fleet.bad.tag)
    site.admin.config_set("maxmemory-policy", "noeviction")
    site.admin.config_set("maxmemory", site.bus.used() + 8 * 2**20)
    with contextlib.suppress(redis.exceptions.OutOfMemoryError), client.pipeline(transaction=False) as pipe:
        for number in range(20_000):
            pipe.execute_command("HSET", f"rq:job:{fleet.bad.tag}_{number}", "a", "b" * 60)
        pipe.execute()
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        while True:
            client.execute_command("XADD", keys.up_stream(fleet.bad.tag), "*", "e", PIECE)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        as_node(site, fleet.good.tag).execute_command("XADD", keys.up_stream(fleet.good.tag), "*", "e", PIECE)
    fleet.coordinator.turn()
    assert fleet.quarantined() is not None
    assert fleet.left() == []
    fleet.still_works()


def test_connections_that_hold_much_are_weighed_or_cut(valkey_site: Site) -> None:
    """Half a request each, never ended."""
    site, fleet = valkey_site, RealFleet(valkey_site)
    assert isinstance(site.server.place, str)
    held = []
    for _ in range(12):
        line = socket.socket(socket.AF_UNIX)
        line.connect(site.server.place)
        held.append(line)
        line.settimeout(2)
        words = ("AUTH", f"node-{fleet.bad.tag}", PASSWORD)
        line.sendall(_words(*words))
        assert line.recv(100).startswith(b"+OK")
        with contextlib.suppress(OSError):
            line.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$16000000\r\n" + b"y" * 12_000_000)
    try:
        assert site.bus.used() < 100 * 2**20, "the server cuts the largest"
        fleet.coordinator.turn()
        assert "and its connections" in (fleet.quarantined() or "")
        fleet.still_works()
    finally:
        for line in held:
            line.close()


def test_the_coordinator_s_own_connections_are_never_cut(valkey_site: Site) -> None:
    valkey_site.bus.set_heartbeats({TAG: "beat"})
    (ours,) = [one for one in valkey_site.bus._redis.client_list() if one["cmd"].startswith("client")]
    assert "e" in ours["flags"]


def test_a_large_job_that_ended_is_not_kept(site: Site) -> None:
    """RQ's tools show a closed job for a week; the job itself is in the ledger."""
    fleet = RealFleet(site)
    noise = "".join(hashlib.sha256(b"%d" % n).hexdigest() for n in range(8_000))
    fleet.coordinator.dispatch("r-0001", node="good", task=noise)
    for _ in range(2):
        fleet.good.breathe()
    due = fleet.good.take()
    assert due.task == noise
    before = site.bus.weigh()[fleet.good.tag].size
    fleet.good.carry_out(due)
    assert fleet.coordinator.row(Run, "r-0001").outcome is Outcome.DONE
    assert site.bus.weigh()[fleet.good.tag].size < before / 5


def test_weighing_is_not_done_while_there_is_room(site: Site) -> None:
    fleet = RealFleet(site)
    site.admin.config_resetstat()
    for _ in range(5):
        fleet.coordinator.turn(1_000)
    told = site.admin.info("commandstats")
    assert told["cmdstat_info"]["calls"] <= 6
    assert not {"cmdstat_scan", "cmdstat_memory|usage", "cmdstat_client|list"} & set(told)
    quota.enforce_quota(fleet.coordinator.core)


def _words(*words: str) -> bytes:
    return f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words)


def test_receipts_of_runs_that_never_were_do_not_fill_the_disk(valkey_site: Site, tmp_path: Path) -> None:
    """Through a real server into a real ledger and archive: what is kept is bounded, the others continue."""
    fleet = RealFleet(valkey_site, tmp_path)
    fleet.coordinator.core.rules = replace(ControlSettings(), evidence=ForeignReceipts(1_000, 2**20))
    fleet.coordinator.dispatch("r-bad0", node="bad")
    for _ in range(3):
        fleet.bad.breathe()
    due = fleet.bad.take()
    before, sent = bytes_in(tmp_path), 0
    while fleet.quarantined() is None and sent < 400:
        sent += 1
        identity = AttemptId(run=f"r-no{sent:04d}", attempt=1, lease=1)
        fleet.bad.deliver(due, identity=identity, answer="x" * 4_000)
        if sent % 40 == 0:
            fleet.coordinator.turn()
    assert "receipts of 1 MiB in a day" in (fleet.quarantined() or "")
    assert bytes_in(tmp_path) - before < 8 * 2**20
    fleet.still_works()
