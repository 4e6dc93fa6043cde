"""Any value that the wire takes, signed by one node, breaks nothing: no GET, no other node, no sum."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.wire.event import Events
from node_agent.wire.job import Job
from node_agent.wire.node import Heartbeat
from node_agent.wire.receipt import Receipt
from node_agent.wire.signing import MAX_ENVELOPE_BYTES, Signature, Signed
from pancode.app.schema import SCHEMA
from pancode.budget.books import MOST_SUM
from pancode.kernel.records import BookEntry, EntryKind, Run, RunState
from pancode.runs.unit_of_work import unit_of_work
from pancode.store.shape import shape_of
from tests.unit.pancode.interfaces.http.lies import SAID, events, gets, receipt, word
from tests.unit.pancode.interfaces.http.world import Http, World, app_of
from tests.unit.pancode.issues.memory import track_issues
from tests.unit.pancode.runs.world import FLEET, Puppet

MOST_S = 5.0
"""For a coordinator to take in one message of a liar; it takes a hundredth of that."""
LEDGER_FOR_A_BYTE, LEDGER_MORE = 4, 200_000
"""What one byte of a node may cost on the coordinator's disk."""
EARLIER = MOST_SUM - 10**9
"""Tokens that many receipts before have claimed."""


class LiarWorld(World):
    """A liar with a job of its own, an honest node with one, and every GET of the API."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        app, context = app_of(self.coordinator)
        track_issues(self.coordinator)
        context.closing.set()  # a stream of events ends at once
        self.http = Http(app)
        self.honest = Puppet(self.context, "honest")
        self._earlier()
        self.breathe()
        self.lies = self._job(self.node)
        self.due = self._job(self.honest)
        self.seq = 3

    def breathe(self) -> None:
        for node in (self.node, self.honest):
            node.breathe()

    def _earlier(self) -> None:
        core = self.context.core
        with unit_of_work(core) as work:
            for number, scope in enumerate(("agent:builder", "agent:shell", "node:n1", "node:honest")):
                work.book([BookEntry(f"e-{number}", 0, scope, EntryKind.SPEND, "r-e", 1, 1, _ZERO, EARLIER)])

    def _job(self, node: Puppet) -> Job:
        run = self.dispatch(node=node.name, budget="0.10")["run"]
        self.breathe()
        job = node.take()
        assert job.identity.run == run
        node.start(job)
        self.context.turn()
        return job

    def lie(self, kind: type[Signed], seed: int) -> None:
        """In the liar's name and of its job, so that as much as can be is believed."""
        told = self._told(kind, seed)
        envelope = self._sealed(kind, json.dumps(told).encode(), seed)
        if len(envelope) > MAX_ENVELOPE_BYTES:
            return
        before, began = self.stored(), process_time()
        if kind is Heartbeat:
            self.node.uplink.set_heartbeat(envelope)
        else:
            self.node.uplink.send(envelope)
        self.context.turn()
        assert process_time() - began < MOST_S, f"{kind.__name__} of {len(envelope)} bytes took too long"
        grown = self.stored() - before
        assert grown <= LEDGER_FOR_A_BYTE * len(envelope) + LEDGER_MORE, f"{kind.__name__}: {grown} bytes"

    def _sealed(self, kind: type[Signed], body: bytes, seed: int) -> str:
        """Signed once, as often as an envelope holds, or beside marks of keys that nobody has."""
        envelope = self.node.key.sign(kind.payload_type(), body)
        own = envelope.signatures
        forged = tuple(Signature(keyid=self.node.tag + f"{n:054x}", sig="AA==") for n in range(3))
        marks = (own, own * 4, own + forged)[seed % 3]
        return envelope.model_copy(update={"signatures": marks}).model_dump_json()

    def _told(self, kind: type[Signed], seed: int) -> dict[str, Any]:
        if kind is Receipt:
            return receipt(seed, self._ordered())
        if kind is not Events:
            return word(kind, seed, self._ours())
        told = events(seed, self._ours(), self.lies.identity, self.seq)
        self.seq += len(told["events"])
        return told

    def _ours(self) -> dict[str, Any]:
        heartbeat = self.node.beat()
        assert heartbeat is not None
        self.node.seq += 1
        now = {"epoch": heartbeat.time.epoch, "ms": heartbeat.time.ms}
        return {
            "fleet": FLEET,
            "node": self.node.tag,
            "epoch_seen": now["epoch"],
            "seq": self.node.seq,
            "session": self.node.session,
            "nonce": self.node.nonce,
            "echo": now,
            "at": now,
            "control_seen": 0,
        }

    def _ordered(self) -> dict[str, Any]:
        """As the job says, where another value would be rejected for that alone."""
        honest = json.loads(self.node.receipt(self.lies).body())["predicate"]
        names = ("fleet", "epoch", "identity", "node", "node_name", "order", "runtime", "agent", "mode")
        more = ("safety", "base", "snapshot", "commit", "gates", "outcome")
        return {**{name: honest[name] for name in names + more}, "failure": None, "change": "none"}

    def stored(self) -> int:
        """Bytes in the ledger, roughly."""
        return sum(
            len(str(shape_of(kind).to_row(row))) for kind in SCHEMA.tables for row in self.context.rows(kind)
        )

    def check(self) -> None:
        paths = gets([self.lies.identity.run, self.due.identity.run], self.node.name)
        answers = {path: self.http.get(path) for path in paths}
        assert not {path: told.text[:300] for path, told in answers.items() if told.status_code >= 500}
        self.context.check_books()
        if self.honest.events.get(str(self.due.identity)) == 3:
            self.honest.heartbeat()
            self.honest.deliver(self.due, exit_code=0)
            self.context.turn()
        run = self.context.row(Run, self.due.identity.run)
        assert run.state is RunState.ENDED and run.result["usage"]["input_tokens"] == 10
        self.context.check_books()


_ZERO = Decimal(0)


LIES = st.lists(st.tuples(st.sampled_from(SAID), st.integers(0, 2**32)), min_size=1, max_size=4)


@settings(max_examples=15, deadline=None)
@given(LIES)
def test_any_value_of_one_node_breaks_nothing(lies: list[tuple[type[Signed], int]]) -> None:
    with TemporaryDirectory() as home:
        fleet = LiarWorld(Path(home))
        for kind, seed in lies:
            fleet.lie(kind, seed)
        fleet.check()


@pytest.mark.parametrize("kind", SAID)
def test_most_of_what_is_tried_is_believed(kind: type[Signed], tmp_path: Path) -> None:
    """Or the property would hold of nothing."""
    fleet = LiarWorld(tmp_path)
    told = fleet.context.core.live.tally.refusals
    for seed in range(12):
        fleet.lie(kind, seed)
    # What the node says was sent to it is believed: that is no refusal of its own words.
    assert sum(count for key, count in told.items() if ":what was sent" not in key) <= 6, told
