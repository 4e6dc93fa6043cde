"""What a node's Redis user can and cannot do, tried one by one on real servers."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from node_agent.attempt.ports import LinkDown
from node_agent.link.bus import RedisUplink
from node_agent.wire import keys
from node_agent.wire.clock import SystemClock
from node_agent.wire.identity import AttemptId
from pancode.kernel.ports import JobToClose, Offer
from tests.integration.redis.conftest import OTHER, PASSWORD, TAG, Site

MINE = AttemptId(run="r-mine", attempt=1, lease=1)
THEIRS = AttemptId(run="r-theirs", attempt=1, lease=1)
MY_QUEUE, THEIR_QUEUE = "rq:queue:" + keys.node_queue(TAG), "rq:queue:" + keys.node_queue(OTHER)
MY_JOB, THEIR_JOB = "rq:job:" + keys.job_id(TAG, MINE), "rq:job:" + keys.job_id(OTHER, THEIRS)
POOL = "rq:queue:" + keys.pool_queue("any")

DENIED: list[tuple[Any, ...]] = [
    # a script of its own: one that never ends would hold up everybody
    ("SCRIPT", "LOAD", "while true do end"),
    ("EVAL", "while true do end", 0),
    ("FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('x', function() while true do end end)"),
    ("SCRIPT", "FLUSH"),
    # other nodes
    ("LPOP", THEIR_QUEUE),
    ("LRANGE", THEIR_QUEUE, 0, -1),
    ("LREM", THEIR_QUEUE, 0, "x"),
    ("DEL", THEIR_QUEUE),
    ("HGETALL", THEIR_JOB),
    ("HGET", THEIR_JOB, "data"),
    ("HSET", THEIR_JOB, "status", "finished"),
    ("DEL", THEIR_JOB),
    ("EXPIRE", THEIR_JOB, 1),
    ("ZREM", f"rq:wip:{keys.node_queue(OTHER)}", "x"),
    ("ZADD", f"rq:finished:{keys.node_queue(OTHER)}", 1, "x"),
    ("HSET", f"rq:worker:{OTHER}", "state", "idle"),
    ("HGET", f"rq:worker:{OTHER}", "state"),
    ("DEL", f"rq:worker:{OTHER}"),
    ("SADD", f"rq:workers:{keys.node_queue(OTHER)}", "x"),
    ("XADD", keys.up_stream(OTHER), "*", "e", "x"),
    ("XRANGE", keys.down_stream(OTHER), "-", "+"),
    ("GET", keys.coordinator_heartbeat_key(OTHER)),
    ("SET", keys.heartbeat_key(OTHER), "x"),
    ("SET", keys.profile_key(OTHER), "x"),
    ("GET", keys.profile_key(TAG)),
    ("SET", "pancode:elsewhere", "x"),
    ("PUBLISH", keys.hint_channel(OTHER), "1"),
    ("SUBSCRIBE", keys.hint_channel(OTHER)),
    ("PUBLISH", f"rq:pubsub:{OTHER}", "{}"),
    # its own keys, but not what is for the coordinator to do
    ("RPUSH", MY_QUEUE, "x"),
    ("LPUSH", MY_QUEUE, "x"),
    ("DEL", MY_QUEUE),
    ("SET", MY_QUEUE, "x"),
    ("EXPIRE", MY_QUEUE, 1),
    ("XADD", keys.down_stream(TAG), "*", "e", "x"),
    ("XDEL", keys.down_stream(TAG), "1-1"),
    ("XTRIM", keys.down_stream(TAG), "MAXLEN", 0),
    ("XGROUP", "CREATE", keys.down_stream(TAG), "mine", "0"),
    ("XGROUP", "CREATE", keys.up_stream(TAG), "mine", "0", "MKSTREAM"),
    ("HSET", f"rq:worker:{TAG}:another", "a", "b"),
    ("DEL", keys.down_stream(TAG)),
    ("SET", keys.coordinator_heartbeat_key(TAG), "x"),
    ("DEL", keys.coordinator_heartbeat_key(TAG)),
    ("XRANGE", keys.up_stream(TAG), "-", "+"),
    ("DEL", keys.up_stream(TAG)),
    ("XDEL", keys.up_stream(TAG), "1-1"),
    # what is everybody's
    ("LPOP", POOL),
    ("LRANGE", POOL, 0, -1),
    ("RPUSH", POOL, "x"),
    ("DEL", POOL),
    ("HGETALL", "rq:job:" + keys.ticket_id("r-0001", 1)),
    ("SADD", "rq:queues", "x"),
    ("SADD", "rq:workers", "x"),
    ("SADD", f"rq:workers:{keys.node_queue(TAG)}", "x"),
    ("SUBSCRIBE", keys.UP_HINT),
    ("PUBLISH", keys.hint_channel(TAG), "x"),
    ("SREM", "rq:queues", MY_QUEUE),
    ("SREM", "rq:workers", "x"),
    ("SMEMBERS", "rq:workers"),
    # the server
    ("PSUBSCRIBE", "*"),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("RANDOMKEY",),
    ("DBSIZE",),
    ("INFO",),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", f"node-{TAG}", "+@all"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("MONITOR",),
    ("SHUTDOWN", "NOSAVE"),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "LIST"),
    ("REPLICAOF", "NO", "ONE"),
    ("SLOWLOG", "GET"),
    ("EVAL", f"return redis.call('LPOP', '{THEIR_QUEUE}')", 0),
]
THROUGH_SCRIPTS = [
    f"return redis.call('LPOP', '{THEIR_QUEUE}')",
    f"return redis.call('RPUSH', '{MY_QUEUE}', 'x')",
    f"return redis.call('HSET', '{THEIR_JOB}', 'status', 'finished')",
    f"return redis.call('SET', '{keys.coordinator_heartbeat_key(TAG)}', 'x')",
    "return redis.call('KEYS', '*')",
    "return redis.call('FLUSHALL')",
    "return redis.call('PUBLISH', 'pancode:hint:" + OTHER + "', '1')",
]


def as_node(site: Site, tag: str = TAG, password: str = PASSWORD) -> redis.Redis:
    """A plain client with the node's user: what a hostile node would use."""
    place = site.server.place
    where: dict[str, Any] = (
        {"unix_socket_path": place} if isinstance(place, str) else {"host": place[0], "port": place[1]}
    )
    client = redis.Redis(
        **where,
        username=f"node-{tag}",
        password=password,
        protocol=2,
        driver_info=None,
        retry=Retry(NoBackoff(), 0),
    )
    site.opened.append(client)
    return client


def refused(client: Any, words: tuple[Any, ...]) -> bool:
    try:
        answer = client.execute_command(*words)
    except (redis.exceptions.NoPermissionError, redis.exceptions.ResponseError) as exc:
        said = str(exc)
        # The second is how Redis 7.0 says it from within a script.
        return "permission" in said.lower() or "The user executing the script can't" in said
    print(words, "was allowed:", answer)
    return False


def fill(site: Site) -> None:
    site.uplink(), site.uplink(OTHER)
    site.bus.push_jobs([Offer(TAG, MINE, "order")])
    site.bus.push_jobs([Offer(OTHER, THEIRS, "order")])
    site.bus.set_heartbeats({TAG: "beat"})
    site.bus.set_heartbeats({OTHER: "beat"})
    site.bus.send_controls(TAG, [(1, "control")])
    site.bus.send_controls(OTHER, [(1, "control")])
    site.admin.rpush(POOL, "ticket_r-0001_1")


def test_a_node_is_held_to_its_own_keys(site: Site) -> None:
    fill(site)
    before = sorted(site.admin.keys())
    client = as_node(site)
    assert [words for words in DENIED if not refused(client, words)] == []
    for text in THROUGH_SCRIPTS:
        digest = site.admin.script_load(text)
        assert refused(client, ("EVALSHA", digest, 0)), text
    assert sorted(site.admin.keys()) == before
    assert site.admin.llen(THEIR_QUEUE) == site.admin.llen(MY_QUEUE) == 1


def test_a_transaction_gives_no_right_that_its_commands_have_not(site: Site) -> None:
    """RQ writes in transactions, so a node may begin one."""
    fill(site)
    client: Any = as_node(site)
    for words in DENIED:
        with client.pipeline() as pipe, pytest.raises(redis.exceptions.ResponseError):
            pipe.execute_command("HSET", MY_JOB, "meta", "{}").execute_command(*words).execute()
    assert site.admin.hget(MY_JOB, "meta") is None, "nothing of it is carried out"
    for key in (THEIR_QUEUE, THEIR_JOB, f"rq:worker:{OTHER}", "rq:workers", "rq:queues"):
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command("WATCH", key)


def test_a_node_needs_nothing_that_it_has_not(site: Site) -> None:
    """Everything that the uplink does works, and the server saw no refused command."""
    fill(site)
    site.admin.acl_log_reset()
    node = site.uplink()
    node.wait_for_hint(10)
    claim = node.claim()
    assert claim is not None
    site.impatient_bus().push_jobs([Offer(TAG, MINE, "order")])
    again = node.claim()
    assert again is not None
    node.settle_job(again.rq_job, True, "")
    node.settle_job(again.rq_job, False, "no")
    node.send("event")
    node.set_heartbeat("heart")
    assert node.news("0").heartbeat == b"beat"
    assert [sent.data for sent in node.news("0").controls] == [b"control"]
    site.bus.send_controls(TAG, [(2, "control")])
    assert node.wait_for_hint(2_000)
    assert site.admin.acl_log() == []


def test_nobody_gets_in_without_a_password(site: Site) -> None:
    fill(site)
    for user, password in [
        (f"node-{TAG}", "wrong"),
        ("node-0000000000", PASSWORD),
        ("coordinator", PASSWORD),
    ]:
        client = as_node(site, user.removeprefix("node-"), password)
        with pytest.raises(redis.exceptions.AuthenticationError):
            client.ping()


def test_no_password_stands_in_the_servers_files(valkey_site: Site) -> None:
    fill(valkey_site)
    secrets = [PASSWORD.encode(), (valkey_site.server.access.password or "").encode()]
    folder = Path(valkey_site.server.access.origin)
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "coordinator.password":
            assert not [secret for secret in secrets if secret in path.read_bytes()], path
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0, path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "valkey.sock").stat().st_mode & 0o777 == 0o600


def test_a_renewed_password_replaces_the_old_one(site: Site) -> None:
    site.bus.admit_node(TAG, "first")
    assert as_node(site, password="first").execute_command("GET", keys.coordinator_heartbeat_key(TAG)) is None
    site.bus.admit_node(TAG, "second")
    with pytest.raises(redis.exceptions.AuthenticationError):
        as_node(site, password="first").ping()
    assert as_node(site, password="second").ping()


def test_admitting_again_disturbs_nobody(site: Site) -> None:
    """The coordinator does so at each start."""
    node, client = site.uplink(), as_node(site)
    assert node.wait_for_hint(50) and client.ping()
    subscription = node._hints._pubsub
    site.bus.admit_node(TAG, PASSWORD)
    site.bus.send_controls(TAG, [(1, "control")])
    while not node.wait_for_hint(2_000):
        pytest.fail("the ear went deaf")
    assert node._hints._pubsub is subscription and client.ping() and node.claim() is None


def test_a_node_that_learns_its_new_password_goes_on(site: Site) -> None:
    known = ["first"]
    site.bus.admit_node(TAG, "first")
    node = RedisUplink(TAG, lambda: site.server.place, lambda: known[0], SystemClock())
    site.opened.append(node)
    assert node.claim() is None
    site.bus.expel_node(TAG)
    site.bus.admit_node(TAG, "second")
    with pytest.raises(LinkDown):
        [node.claim() for _ in range(2)]
    known[0] = "second"
    with contextlib.suppress(LinkDown):
        node.claim()
    assert node.claim() is None


def test_an_expelled_node_is_cut_off_at_once(site: Site) -> None:
    fill(site)
    client = as_node(site)
    assert client.ping()
    site.bus.expel_node(TAG)
    with pytest.raises(redis.exceptions.RedisError):
        client.ping()
    assert not [key for key in site.admin.scan_iter() if TAG.encode() in key]


def test_admitted_nodes_outlive_a_restart(valkey_site: Site) -> None:
    valkey_site.uplink()
    valkey_site.server.stop()
    valkey_site.server.start()
    assert as_node(valkey_site).ping()


@pytest.mark.parametrize("kind", ["job", "executions", "results", "worker", "all"])
def test_keys_that_a_node_has_spoilt_stop_nobody(kind: str, site: Site) -> None:
    site.uplink()
    node = as_node(site)
    names = {k: f"rq:{k}:{keys.job_id(TAG, MINE)}" for k in ("job", "executions", "results")}
    names["worker"] = f"rq:worker:{TAG}"
    for name, key in names.items():
        if kind in (name, "all"):
            spoil = ("ZADD", key, 1, "x") if name == "results" else ("XADD", key, "*", "e", "x")
            node.execute_command(*spoil)
    site.bus.push_jobs([Offer(TAG, MINE, "{}")])
    claimed = site.uplink().claim()
    assert claimed is not None and claimed.envelope == b"{}"
    if kind in ("worker", "all"):
        node.execute_command("DEL", names["worker"])
        node.execute_command("XADD", names["worker"], "*", "e", "x")
    node.execute_command("DEL", names["executions"])
    node.execute_command("XADD", names["executions"], "*", "e", "x")
    site.bus.close_jobs([JobToClose(TAG, MINE, True, "done")])
    assert site.admin.hget(names["job"], "status") == b"finished"
    site.bus.push_jobs([Offer(TAG, MINE, "{}")])


def test_a_node_that_gave_its_keys_odd_names_can_be_expelled(site: Site) -> None:
    site.uplink()
    node = as_node(site)
    odd = b"rq:job:" + TAG.encode() + b"_\xff\n*"
    node.execute_command("HSET", odd, "a", "b")
    site.bus.expel_node(TAG)
    assert site.admin.exists(odd) == 0
    with pytest.raises(redis.RedisError):
        as_node(site).ping()
