"""Redis and the depot through the entrance: jobs, hints, git both ways, logs; and it comes and goes."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from node_agent.attempt.ports import CommitStamp, LinkDown
from node_agent.link.bus import RedisUplink
from node_agent.machine.home import ends_of
from node_agent.wire import keys
from node_agent.wire.clock import SystemClock
from node_agent.workspace.depot import DepotAccess, DepotClient
from node_agent.workspace.workspaces import Workspaces
from pancode.fleet.ssh.forward_targets import TlsEnd
from pancode.fleet.ssh.loop import LoopThread
from pancode.queue.valkey.access import TlsFiles, connect
from tests.contract.certificates import Authority as Others
from tests.contract.redis_servers import TlsRedis
from tests.integration.direct.conftest import Asking, House, Visitor
from tests.integration.git.depot_world import until
from tests.integration.git.repos import NOW_MS, attempt, tree_of, workspace_of


def test_jobs_words_and_hints_pass(house: House, anna: Visitor) -> None:
    house.open()
    place, admin = anna.end(), connect(house.server.access)
    uplink = RedisUplink(anna.tag, lambda: place, lambda: anna.password, SystemClock())
    try:
        assert uplink.claim() is None and uplink.news("0-0").controls == []
        uplink.send("up")
        assert uplink.wait_for_hint(100), "it has just begun to listen"
        # Its word that it listens goes another way than ours: heard is what is said after that has come.
        until(lambda: admin.publish(keys.hint_channel(anna.tag), "x") == 1, timeout_s=20)
        assert uplink.wait_for_hint(5_000)
    finally:
        uplink.close()
        admin.close()


def test_an_answer_of_many_pieces_and_a_word_of_many(house: House, anna: Visitor) -> None:
    house.open()
    client = Asking(anna.end(), f"node-{anna.tag}", anna.password)
    text = os.urandom(1_500_000).hex()
    key = f"rq:job:{keys.job_prefix(anna.tag)}big"
    try:
        assert client.ask(("HSET", key, "data", text), ("HGET", key, "data")) == [1, text.encode()]
    finally:
        client.close()


def test_git_travels_both_ways_and_logs_arrive(house: House, anna: Visitor, tmp_path: Path) -> None:
    house.open()
    place = anna.end("depot")
    client = DepotClient(DepotAccess(lambda: place, house.depot.sign, 5.0))
    spaces, job = Workspaces(tmp_path / "node", client), workspace_of(house.depot.taken)
    tree = spaces.prepare(attempt(), job)
    assert (tree / "big.bin").read_bytes() == (house.depot.repo.path / "big.bin").read_bytes()
    (tree / "answer").write_bytes(os.urandom(2_000_000))
    made = spaces.commit(attempt(), job, CommitStamp("result", NOW_MS))
    assert made.commit is not None
    spaces.push(attempt(), job, made.commit)
    kept = tree_of(house.depot.depot, house.depot.taken, made.commit)["answer"][1]
    assert kept == (tree / "answer").read_bytes()
    log = tmp_path / "out"
    log.write_bytes(os.urandom(700_000))
    blob = client.upload(attempt(), "out", log)
    assert blob.sha256 == hashlib.sha256(log.read_bytes()).hexdigest()
    assert [end.problem for end in house.depot.ended(3)] == ["", "", ""]


@pytest.mark.parametrize("host", ["::1", "localhost"])
def test_other_kinds_of_addresses(house: House, anna: Visitor, host: str) -> None:
    house.place = replace(house.place, host=host)
    house.open()
    shape = {"redis": f"tls:{house.place}", "depot": f"tls:{house.place}"}
    by = anna.end()
    ends = ends_of(json.dumps({**shape, "ca": by.ca, "cert": by.cert}), anna.keys)
    client = Asking(ends.redis, f"node-{anna.tag}", anna.password)
    assert client.ask(("PING",)) == [True]
    client.close()


def test_a_redis_by_tls_behind_it_is_not_the_node_s_business(
    house: House, anna: Visitor, tmp_path: Path
) -> None:
    others = Others(tmp_path / "theirs")
    behind = TlsRedis(others, others.issue("here", "127.0.0.1"))
    try:
        behind.do("ACL", "SETUSER", f"node-{anna.tag}", "reset", "on", f">{anna.password}", "+@all", "~*")
        house.open(TlsEnd("127.0.0.1", behind.port, TlsFiles(ca=others.ca).context))
        client = Asking(anna.end(), f"node-{anna.tag}", anna.password)
        assert client.ask(("PING",)) == [True]
        client.close()
    finally:
        behind.discard()


def test_what_lies_behind_is_away_and_comes_back(house: House, anna: Visitor) -> None:
    house.open()
    client = Asking(anna.end(), f"node-{anna.tag}", anna.password)
    assert client.ask(("PING",)) == [True]
    house.server.stop()
    with pytest.raises(RedisError):
        client.ask(("PING",))
    with pytest.raises(RedisError, match="No such file|refused"):
        client.ask(("PING",))
    house.server.start()
    assert client.ask(("PING",)) == [True]
    client.close()


def test_a_node_that_hangs_up_leaves_nothing_open(house: House, anna: Visitor) -> None:
    house.open()
    place = anna.end("depot")
    for _ in range(70):  # more than may be open at once
        peer, _nonce = DepotAccess(lambda: place, house.depot.sign, 5.0).greet()
        peer.close()
        house.depot.ended(1)
    until(lambda: len(house.depot.ends) >= 70)


def test_the_coordinator_is_away_and_comes_back(house: House, anna: Visitor) -> None:
    house.open()
    place = anna.end("depot")
    listener = DepotAccess(lambda: place, house.depot.sign, 5.0)
    house.loop.stop()
    with pytest.raises(LinkDown, match="refused"):
        listener.greet()
    house.loop = LoopThread("again")
    house.open()
    listener.greet()[0].close()
    house.loop.stop()
