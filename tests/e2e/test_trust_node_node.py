"""A node that was taken over, against another one: with its own key, Redis user and tunnel, on real hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import redis

from node_agent.wire import keys
from node_agent.wire.clock import SystemClock
from node_agent.wire.control import Control, StopControl
from node_agent.wire.event import Event, Events, Interrupting, Marked, Refused
from node_agent.wire.failure import FailureKind, JobRefusal, Outcome
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.model import FleetTime
from node_agent.wire.node import Heartbeat, Hello, Inventory, JournalEntry, Verb
from node_agent.wire.packing import read_text
from node_agent.wire.receipt import Receipt, receipt_of
from node_agent.wire.signing import Message, Signed, SigningKey, parse_envelope, parse_message
from node_agent.workspace.depot import DepotAccess, hang_up
from node_agent.workspace.git import DepotRefused
from tests.crowd import crowded
from tests.e2e.ground import Ground, held, money, raised
from tests.e2e.intruder import Intruder, job_in
from tests.e2e.owner import Owner, until
from tests.e2e.writes import archived
from tests.lab import Lab

pytestmark = pytest.mark.slow


class Rogue:
    """All that lies in a node's home, in other hands: they end where the node agent itself would."""

    def __init__(self, host: Ground) -> None:
        self.host, self.tag = host, host.tag
        self.key = SigningKey.parse((host.home / "key" / "node.key").read_text())
        settings = json.loads((host.home / "node.json").read_text())["redis"]
        self.redis: Any = redis.Redis(
            unix_socket_path=str(self._way("redis")),
            username=settings["user"],
            password=self._here(settings["password_file"]).read_text().strip(),
            socket_timeout=10 * crowded(),
        )
        self.listener = DepotAccess(lambda: self._way("depot"), self._hello)

    def _here(self, inside: str) -> Path:
        """Where this machine sees a file of the host's home."""
        path = Path(inside)
        return self.host.home / (path.relative_to(self.host.inside) if path.is_absolute() else path)

    def _way(self, name: str) -> Path:
        said = json.loads((self.host.home / "s" / "current").read_text())[name]
        return self._here(said.partition(":")[2])

    def _hello(self, nonce: str, verb: Verb, identity: AttemptId) -> bytes:
        made = Hello(fleet=self.host.fleet, node=self.tag, nonce=nonce, identity=identity, verb=verb)
        return made.signed(self.key).model_dump_json().encode()

    def says(self, message: Signed) -> None:
        """Through the one stream of which the coordinator believes it."""
        self.redis.xadd(keys.up_stream(self.tag), {"e": message.signed(self.key).model_dump_json()})
        self.redis.publish(keys.UP_HINT, self.tag)


@pytest.mark.usefixtures("no_sandboxes")  # or the run would not see what lets it go
def test_a_rogue_node_changes_nothing_of_another(fleet: Owner, lab: Lab) -> None:
    """It knows all of the other's run: its job, its receipts, its keys in Redis."""
    one, rogue, intruder = Ground(fleet, lab, 1), Rogue(Ground(fleet, lab, 2)), Intruder(fleet)
    shell = ("--runtime", "shell", "--node", "node1")
    earlier = fleet.ask("dispatch", *shell, "--workspace", "none", "true")
    sealed = parse_envelope(archived(fleet, _identity(earlier))[0])
    task = f"{held('mine')}; echo mine | tee result.txt"
    run = fleet.dispatch(*shell, task, cwd=fleet.repository("rogue"))
    shown, before = fleet.running(run), money(fleet)
    victim = _identity(shown)
    job = job_in(intruder.job_of(one.tag, victim))
    last = read_text(intruder.redis.get(keys.heartbeat_key(rogue.tag)), 1 << 20)
    heard = parse_message(Heartbeat, parse_envelope(last).body())
    _reaches_nothing_in_redis(rogue, one.tag, victim, heard.echo)
    _is_refused_by_the_depot(rogue, victim)
    claims = parse_message(Receipt, sealed.body()).predicate
    lie = claims.model_copy(update={"identity": victim, "job": job.signed(rogue.key).digest()})
    for message in _lies(rogue, victim, heard):
        rogue.says(message)
    for update in _receipts(rogue):
        rogue.says(receipt_of(lie.model_copy(update=update)))
    own = sealed.model_copy(update={"signatures": sealed.signatures[:1]}).model_dump_json()
    rogue.redis.xadd(keys.up_stream(rogue.tag), {"e": own})
    until(lambda: intruder.heard(rogue.tag), "all was read", 20)
    intruder.close()
    told = ("dropped events about another node's lease", "foreign receipt dropped", "message refused")
    for what in told:
        raised(fleet, lambda e, what=what: (e["what"], e["detail"]["node"]) == (what, "node2"), what)  # type: ignore[misc]
    after = fleet.show(run)
    assert (after["state"], after["fence"], after["fences"]) == ("running", victim.lease, shown["fences"])
    assert money(fleet) == before
    one.let_go("mine")
    ended = fleet.ended(run, 40)
    assert (ended["outcome"], ended["node"], len(ended["fences"])) == ("done", "node1", 1), ended
    assert fleet.run("runs", "logs", run).ok().out == "mine\n"
    assert "+mine" in fleet.run("runs", "diff", run).ok().out
    verified = fleet.run("receipt", "verify", run).ok().out
    assert verified.startswith("PASS") and "signed by the node that it names: node1" in verified
    assert one.mark(run) in ("acknowledged", "receipted") and not rogue.host.entries(run)


def _identity(run: dict[str, Any]) -> AttemptId:
    return AttemptId(run=run["run"], attempt=run["attempt"], lease=run["fence"])


def _reaches_nothing_in_redis(rogue: Rogue, other: str, victim: AttemptId, now: FleetTime | None) -> None:
    """Neither its queue nor its words; and with another name it is not let in."""
    assert now is not None
    queue, job = keys.node_queue(other), f"rq:job:{keys.job_id(other, victim)}"
    stop = Control(
        fleet=rogue.host.fleet,
        node=other,
        seq=99_999,
        at=now,
        body=StopControl(identity=victim, reason="not you"),
    )
    word = stop.signed(rogue.key).model_dump_json()
    tries: tuple[tuple[str, ...], ...] = (
        ("LPOP", f"rq:queue:{queue}"),
        ("ZADD", f"rq:wip:{queue}", "1", keys.job_id(other, victim)),
        ("ZREM", f"rq:wip:{queue}", keys.job_id(other, victim)),
        ("HGETALL", job),
        ("DEL", job),
        ("HSET", job, "status", "failed"),
        ("XADD", keys.down_stream(other), "*", "e", word, "seq", "99999"),
        ("XADD", keys.up_stream(other), "*", "e", word),
        ("SET", keys.heartbeat_key(other), "x"),
        ("DEL", keys.coordinator_heartbeat_key(other)),
    )
    for words in tries:
        with pytest.raises(redis.exceptions.NoPermissionError):
            rogue.redis.execute_command(*words)


def _is_refused_by_the_depot(rogue: Rogue, victim: AttemptId) -> None:
    """To read its snapshot, to push its result, to add to its log."""
    for verb in get_args(Verb):
        with pytest.raises(DepotRefused, match="is not an attempt of this node"):
            hang_up(rogue.listener.open(verb, victim))


def _lies(rogue: Rogue, victim: AttemptId, heard: Heartbeat) -> tuple[Message, ...]:
    """That it was refused, is ended, has ended; and that its own journal has it."""
    bodies = (
        Refused(why=JobRefusal.CEILING, detail="lie"),
        Interrupting(reason="lie"),
        Marked(mark=Mark.EXITED),
    )
    now = SystemClock().wall_ms()
    events = tuple(
        Event(identity=victim, seq=seq, wall_ms=now, body=body) for seq in range(1, 30) for body in bodies
    )
    assert heard.echo is not None
    entry = JournalEntry(identity=victim, job="0" * 64, mark=Mark.SPAWNED, last_event=3)
    journal = Inventory(
        fleet=rogue.host.fleet,
        node=rogue.tag,
        session=heard.session,
        nonce=heard.nonce,
        at=heard.echo,
        epoch_seen=heard.epoch_seen,
        entries=(entry,),
    )
    return Events(fleet=rogue.host.fleet, node=rogue.tag, events=events), journal


def _receipts(rogue: Rogue) -> tuple[dict[str, Any], ...]:
    """In its own name and in the other's; as an honest end that cost much, and as a failure."""
    failed = {"outcome": Outcome.ERROR, "failure": FailureKind.AGENT_FAILED, "exit_code": 1}
    return ({"node": rogue.tag, "node_name": "node2"}, {"node": rogue.tag}, {**failed, "node": rogue.tag}, {})
