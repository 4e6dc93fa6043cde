"""Whoever can write to Redis can delay and deny, and nothing else: false jobs, words and receipts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from node_agent.attempt.records import JournalRecord
from node_agent.journal.storage import JournalFiles
from node_agent.wire import keys
from node_agent.wire.control import Acknowledge, Control, ControlBody, CoordinatorHeartbeat, StopControl
from node_agent.wire.event import Event, Events, Marked
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.job import Job
from node_agent.wire.model import FleetTime
from node_agent.wire.node import Heartbeat, Inventory
from node_agent.wire.packing import read_text
from node_agent.wire.receipt import Receipt, receipt_of
from node_agent.wire.signing import SigningKey, parse_envelope, parse_message
from tests.crowd import crowded
from tests.e2e.ground import Ground, coordinator_pid, held, money, raised
from tests.e2e.intruder import STRANGER, Intruder, altered, job_in, resigned
from tests.e2e.owner import Owner, until
from tests.e2e.writes import archived
from tests.lab import Lab

pytestmark = pytest.mark.slow

NONE = ("--runtime", "shell", "--workspace", "none")


@pytest.fixture
def intruder(fleet: Owner) -> Iterator[Intruder]:
    found = Intruder(fleet)
    yield found
    found.close()


def _done(fleet: Owner, node: str, task: str) -> AttemptId:
    run = fleet.ask("dispatch", *NONE, "--node", node, task)
    assert run["outcome"] == "done", run
    return AttemptId(run=run["run"], attempt=run["attempt"], lease=run["fence"])


def test_altered_replayed_foreign_and_forged_jobs_start_nothing(
    fleet: Owner, lab: Lab, intruder: Intruder
) -> None:
    one, two = Ground(fleet, lab, 1), Ground(fleet, lab, 2)
    mine = _done(fleet, "node1", "echo x >> /tmp/replayed")
    theirs = _done(fleet, "node2", "echo x >> /tmp/foreign")
    genuine, foreign = intruder.job_of(one.tag, mine), intruder.job_of(two.tag, theirs)
    before = one.names()
    job = job_in(genuine)
    fresh = job.identity.model_copy(update={"lease": mine.lease + 1})
    forged: dict[str, Any] = {
        "task": "touch /tmp/pwned",
        "identity": fresh,
        "start_by": intruder.now().plus(60_000),
    }
    bad = (
        genuine,
        altered(genuine, "/tmp/replayed", "/tmp/pwned"),
        foreign,
        resigned(Job, genuine, **forged),
        resigned(Job, genuine, one_key(one), **forged),
        genuine[: len(genuine) // 2],
    )
    for number, envelope in enumerate(bad, 1):
        intruder.push(one.tag, number, envelope)
    until(lambda: intruder.taken(one.tag), "all were taken", 20)
    _done(fleet, "node1", "true")  # the node works on
    assert one.shell("cat /tmp/replayed; ls /tmp/pwned /tmp/foreign 2>/dev/null") == "x\n"
    assert len(one.names() - before) == 1, "only the run of this moment is in the journal"
    raised(fleet, lambda e: e["detail"].get("code") == "forged_order", "something forged came to the node")
    for word in ("tampered", "wrong_node", "unknown_key", "malformed"):
        until(partial(_told_of, fleet, word), f"the node tells of it: {word}", 15, fleet.nodes)


def _told_of(fleet: Owner, word: str) -> bool:
    return any(word in problem["what"] for problem in fleet.nodes()["node1"]["problems"])


def one_key(host: Ground) -> SigningKey:
    """The node's own key, as whoever is root there has it."""
    return SigningKey.parse((host.home / "key" / "node.key").read_text())


def test_forged_receipts_and_events_settle_nothing(fleet: Owner, lab: Lab, intruder: Intruder) -> None:
    """Signed by nobody's key, by another node's, or altered on the way."""
    one, two = Ground(fleet, lab, 1), Ground(fleet, lab, 2)
    earlier = _done(fleet, "node1", "true")
    genuine = fleet.run("receipt", "export", earlier.run).ok()
    sealed = _receipt(fleet, earlier.run, genuine.out)
    claims = parse_message(Receipt, parse_envelope(sealed).body()).predicate
    run = fleet.dispatch(*NONE, "--node", "node1", f"{held('truly')}; echo truly")
    shown = fleet.running(run)
    victim = AttemptId(run=run, attempt=1, lease=shown["fence"])
    cost = claims.usage.model_copy(update={"cost_usd": Decimal("9.99"), "cost_source": "reported"})
    lie = receipt_of(claims.model_copy(update={"identity": victim, "usage": cost}))
    said = Event(identity=victim, seq=4, wall_ms=1, body=Marked(mark=Mark.EXITED))
    event = Events(fleet=intruder.fleet, node=one.tag, events=(said,))
    before = money(fleet)
    lies = (
        (one.tag, lie.signed(STRANGER).model_dump_json()),
        (one.tag, lie.signed(one_key(two)).model_dump_json()),
        (two.tag, lie.signed(one_key(two)).model_dump_json()),
        (one.tag, altered(sealed, '"outcome":"done"', '"outcome":"lost"')),
        (one.tag, sealed),
        (one.tag, event.signed(STRANGER).model_dump_json()),
        (two.tag, event.signed(one_key(two)).model_dump_json()),
        (one.tag, "{}"),
    )
    for tag, envelope in lies:
        intruder.to_coordinator(tag, envelope)
    until(lambda: intruder.heard(one.tag) and intruder.heard(two.tag), "all were read", 20)
    assert fleet.show(run)["outcome"] is None
    assert fleet.show(run)["state"] == "running"
    assert money(fleet)[0] == before[0]
    one.let_go("truly")
    ended = fleet.ended(run, 40)
    assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, victim.lease), ended
    assert Decimal(ended["usage"]["cost_usd"]) == 0 and money(fleet) == before, "a script costs nothing"
    assert fleet.run("runs", "logs", run).ok().out == "truly\n"
    assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"
    for code in ("unknown_key", "tampered", "malformed"):
        raised(
            fleet,
            lambda e, code=code: e["what"] == "message refused" and e["detail"]["code"] == code,  # type: ignore[misc]
            code,
        )
    raised(fleet, lambda e: e["what"] == "foreign receipt dropped", "the lie of another node")


def test_a_forged_inventory_frees_no_job(fleet: Owner, healed: Lab, intruder: Intruder) -> None:
    """A job that nobody has taken is freed by its node's own signed inventory, and by nobody else's."""
    one, two = Ground(fleet, healed, 1), Ground(fleet, healed, 2)
    agent = one.agent()
    assert agent is not None
    run = _offered_to_frozen(fleet, agent)
    try:
        last = read_text(intruder.redis.get(keys.heartbeat_key(one.tag)), 1 << 20)
        heard = parse_message(Heartbeat, parse_envelope(last).body())
        lie = Inventory(
            fleet=intruder.fleet,
            node=one.tag,
            session=heard.session,
            nonce=heard.nonce,
            at=intruder.now().plus(3_600_000),
            epoch_seen=intruder.epoch,
            entries=(),
        )
        for key in (STRANGER, one_key(two)):
            intruder.to_coordinator(one.tag, lie.signed(key).model_dump_json())
        other = lie.model_copy(update={"node": one.tag})
        intruder.to_coordinator(two.tag, other.signed(one_key(two)).model_dump_json())
        until(lambda: intruder.heard(one.tag) and intruder.heard(two.tag), "all were read", 20)
        raised(fleet, lambda e: e["what"] == "message refused", "the forged inventory")
        shown = fleet.show(run)
        assert (shown["fence"], [f["closed"] for f in shown["fences"]]) == (1, [None]), shown["fences"]
    finally:
        os.kill(agent, signal.SIGCONT)
    ended = fleet.ended(run, 40)
    assert (ended["outcome"], ended["fence"]) == ("done", 1), ended
    assert fleet.run("runs", "logs", run).ok().out == "once\n"


def _offered(fleet: Owner, run: str) -> bool:
    return bool(fleet.look(run)["fence"] == 1)


def _offered_to_frozen(fleet: Owner, agent: int) -> str:
    """A run whose job waits for a frozen node agent; a busy node may take the node for lost first."""
    for _ in range(5):
        # A dispatch would take longer than the node is missed.
        fleet.run("fleet", "drain", "--queue", "pool.node.node1").ok()
        run = fleet.dispatch(*NONE, "--node", "node1", "echo once")
        os.kill(agent, signal.SIGSTOP)
        fleet.run("fleet", "resume", "--queue", "pool.node.node1").ok()
        with contextlib.suppress(AssertionError):
            until(partial(_offered, fleet, run), "it is offered", 4)
            return run
        os.kill(agent, signal.SIGCONT)
        fleet.ended(run, 40)
    raise AssertionError("five jobs were not offered")


def _receipt(fleet: Owner, run: str, exported: str) -> str:
    """The node's own envelope of the run's receipt, out of the coordinator's archive."""
    last = fleet.show(run)
    (kept,) = archived(fleet, AttemptId(run=run, attempt=last["attempt"], lease=last["fence"]))
    envelope = parse_envelope(kept)
    assert envelope.payload in exported, "it is the one that is exported"
    return envelope.model_copy(update={"signatures": envelope.signatures[:1]}).model_dump_json()


def test_a_forged_heartbeat_revives_nobody(fleet: Owner, healed: Lab, intruder: Intruder) -> None:
    two = Ground(fleet, healed, 2)
    tag = two.tag
    old = read_text(intruder.redis.get(keys.heartbeat_key(tag)), 1 << 20).decode()
    healed.drop([2])
    fleet.missed("node2")
    body = parse_message(Heartbeat, parse_envelope(old).body())
    lively: dict[str, Any] = {"seq": body.seq + 5_000, "echo": intruder.now()}
    for envelope in (old, resigned(Heartbeat, old, **lively), altered(old, '"seq":', '"seq":9')):
        intruder.redis.set(keys.heartbeat_key(tag), envelope)
        intruder.redis.publish(keys.UP_HINT, tag)
        time.sleep(0.7)
        assert fleet.state("node2") != "online"
    raised(fleet, lambda e: e["what"] == "heartbeat refused", "the forged heartbeat")
    healed.heal([2])
    until(lambda: fleet.seen("node2") == "online", "the real one is heard", 30)


def test_a_forged_stop_ends_nothing_and_a_forged_heartbeat_is_no_time(
    fleet: Owner, lab: Lab, intruder: Intruder
) -> None:
    one = Ground(fleet, lab, 1)
    run = fleet.dispatch(*NONE, "--node", "node1", f"{held('whole')}; echo whole")
    victim = AttemptId(run=run, attempt=1, lease=fleet.running(run)["fence"])
    stop = _control(intruder, one.tag, StopControl(identity=victim, reason="not you"))
    intruder.to_node(one.tag, stop)
    intruder.to_node(one.tag, stop, one_key(one))
    heartbeat = CoordinatorHeartbeat(
        fleet=intruder.fleet,
        node=one.tag,
        seq=99_999,
        time=FleetTime(epoch=99_999, ms=1),
        cursors={},
        control_floor=0,
    )
    intruder.redis.set(keys.coordinator_heartbeat_key(one.tag), heartbeat.signed(STRANGER).model_dump_json())
    raised(fleet, lambda e: "control message" in str(e["detail"]), "the forged stop")
    assert fleet.show(run)["state"] == "running"
    one.let_go("whole")
    ended = fleet.ended(run, 40)
    assert ended["outcome"] == "done", ended
    assert fleet.run("runs", "logs", run).ok().out == "whole\n"
    _done(fleet, "node1", "true")  # its clock and epoch are what they were


def test_a_forged_acknowledgement_makes_the_node_forget_nothing(
    fleet: Owner, lab: Lab, intruder: Intruder
) -> None:
    """Node and coordinator stand still between the receipt and its answer, and the lie comes first."""
    one = Ground(fleet, lab, 1)
    tag, known, coordinator = one.tag, one.names(), coordinator_pid(fleet)
    asked = fleet.begin("dispatch", "--detach", "--json", *NONE, "--node", "node1", "sleep 0.5; echo kept")
    agent, entry = one.stop_at("receipted", known)
    os.kill(coordinator, signal.SIGSTOP)
    try:
        assert entry.mark is Mark.RECEIPTED and entry.receipt is not None
        for key in (STRANGER, one_key(one)):
            mark = key.countersign(parse_envelope(_sealed(one, entry))).signatures[-1]
            words = Acknowledge(identity=entry.identity, receipt=entry.receipt, countersignature=mark)
            intruder.to_node(tag, _control(intruder, tag, words), key)
        os.kill(agent, signal.SIGCONT)
        time.sleep(1.5)
        assert one.mark(entry.identity.run) == "receipted" and not one.cleaned(entry.identity.run)
    finally:
        os.kill(agent, signal.SIGCONT)
        os.kill(coordinator, signal.SIGCONT)
    run = json.loads(asked.communicate(timeout=60 * crowded())[0])["run"]
    assert fleet.ended(run, 40)["outcome"] == "done"
    until(lambda: one.cleaned(run), "the real one comes", 40)
    raised(fleet, lambda e: "control message" in str(e["detail"]), "the forged answer")


def _sealed(host: Ground, entry: JournalRecord) -> bytes:
    sealed = JournalFiles(host.home / "journal").receipt(str(entry.identity))
    assert sealed is not None
    return sealed


def _control(intruder: Intruder, tag: str, body: ControlBody) -> Control:
    return Control(fleet=intruder.fleet, node=tag, seq=99_999, at=intruder.now(), body=body)
