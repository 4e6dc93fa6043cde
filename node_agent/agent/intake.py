"""Takes orders out of the queue, has each one judged, and writes the answer into the journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from node_agent.agent.publish import EventSigner, Outbox
from node_agent.agent.world import Drive, World
from node_agent.attempt.accept import Accept, AcceptView, AlreadyAccepted, Opened, Refuse, judge, open_order
from node_agent.attempt.ports import Claimed, DiskFull
from node_agent.attempt.records import AcceptedData, Note, at_json
from node_agent.wire import keys as names
from node_agent.wire.event import Finding, Marked, Refused
from node_agent.wire.failure import NODE_STATES, OrderRefusal
from node_agent.wire.identity import FINAL, AttemptId, Mark
from node_agent.wire.model import FleetTime
from node_agent.wire.node import ProblemCode

MOST_CLAIMS = 16
"""The most claims in one turn: a queue full of orders that are refused must not delay a stop."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Facts that change from turn to turn, read when they are needed. `ready`: runtimes in these states."""

    now: Callable[[], FleetTime | None]
    free_slots: Callable[[], int]
    ready: Callable[..., frozenset[str]]


class Intake:
    """The way in. What was claimed and not journalled when the node dies, the coordinator pushes again."""

    def __init__(
        self,
        world: World,
        session: str,
        moment: Moment,
        outbox: Outbox,
        drive: Drive,
        note: Callable[..., None],
    ) -> None:
        self._world, self._session, self._outbox, self._drive = world, session, outbox, drive
        self._now, self._free_slots, self._ready = moment.now, moment.free_slots, moment.ready
        self._note = note
        self._unwritten: set[str] = set()
        """Digests of orders that were refused while not even that fitted on the disk."""
        self._signer = EventSigner(world.node, world.key, world.clock, world.fleet)

    def wants_one(self) -> bool:
        """Check whether an order should be claimed: there is a slot; while draining, also to refuse it."""
        state = self._world.journal.node()
        return self._now() is not None and (self._free_slots() > 0 or state.draining or state.revoked)

    def take(self, claimed: Claimed | None, asked: bool) -> None:
        """Receives the claimed orders, and claims more while there are free slots. LinkDown."""
        received = 0
        if claimed is None and not asked and self.wants_one():  # since the news there is time, or a slot
            claimed = self._world.uplink.claim()
        while claimed is not None:
            self._receive(claimed)
            received += 1
            more = received < MOST_CLAIMS and self.wants_one()
            claimed = self._world.uplink.claim() if more else None

    def _receive(self, claimed: Claimed) -> None:
        opened = open_order(claimed.envelope, self._world.keys)
        verdict = opened if isinstance(opened, Refuse) else judge(opened, self._view(opened))
        if isinstance(opened, Opened) and opened.digest in self._unwritten:
            self._world.uplink.settle_job(claimed.job, False, "refused before")
        elif isinstance(opened, Refuse) or (isinstance(verdict, Refuse) and verdict.identity is None):
            assert isinstance(verdict, Refuse)
            # an order that is not believed cannot be answered: it is counted, and leaves the queue
            self._note(
                f"an order was not believed: {verdict.why}: {verdict.detail}", ProblemCode.FORGED_ORDER
            )
            self._world.uplink.settle_job(claimed.job, False, f"{verdict.why}: {verdict.detail}")
        else:
            identity = opened.order.identity
            match verdict:
                case Accept():
                    self._accept(opened)
                case AlreadyAccepted():
                    self._outbox.again(identity)
                    self._answer_known(identity, verdict.mark)
                case Refuse():
                    self._refuse(opened, verdict)
            self._outbox.note(identity)
            self._drive.wake(identity)

    def _accept(self, opened: Opened) -> None:
        w = self._world
        data = AcceptedData(session=self._session, at=at_json(self._now()), wall=w.clock.wall_ms())
        note = Note(mark=Mark.ACCEPTED, data=data, say=(Marked(mark=Mark.ACCEPTED),))
        try:
            w.journal.accept(opened.order, opened.digest, opened.envelope, note)
        except DiskFull:
            detail = "no room for the journal of this attempt"
            self._refuse(opened, Refuse(OrderRefusal.DISK_FULL, detail, opened.order.identity))

    def _refuse(self, opened: Opened, refused: Refuse) -> None:
        if refused.why not in NODE_STATES:  # those are told as they are while they last
            self._note(f"refused: {refused.why}")
        journal, identity = self._world.journal, opened.order.identity
        if refused.why is OrderRefusal.FENCE_CONFLICT:
            known = journal.get(identity)
            if known is not None and not known.final and known.mark is not Mark.RECEIPTED:
                journal.write(identity, Note(say=(Finding(level="error", text=refused.detail),)))
            return
        word = Refused(why=refused.why, detail=refused.detail[:1000])
        note = Note(mark=Mark.REFUSED, data={"why": f"{refused.why}: {refused.detail}"[:1000]}, say=(word,))
        try:
            journal.accept(opened.order, opened.digest, opened.envelope, note)
        except DiskFull:
            self._unwritten.add(opened.digest)
            self._refuse_unwritten(identity, word)

    def _refuse_unwritten(self, identity: AttemptId, word: Refused) -> None:
        """Even the refusal does not fit on the disk. It is said once; if it is lost, the next inventory says
        it."""
        w = self._world
        w.uplink.send(self._signer.seal([self._signer(identity, 1, word)]))
        w.uplink.settle_job(names.job_id(w.node.tag, identity), False, f"{word.why}: {word.detail}")

    def _answer_known(self, identity: AttemptId, mark: Mark) -> None:
        """Reports a finished attempt again, with its receipt: the coordinator has perhaps lost it."""
        w = self._world
        if mark not in FINAL:
            return
        sealed = w.journal.receipt(identity)
        if sealed is not None:
            w.uplink.send(sealed)
        w.uplink.settle_job(names.job_id(w.node.tag, identity), mark is not Mark.REFUSED, "")

    def _view(self, opened: Opened) -> AcceptView:
        w, identity = self._world, opened.order.identity
        state = w.journal.node()
        return AcceptView(
            fleet=w.node.fleet,
            node=w.node.tag,
            now=self._now(),
            epoch_seen=self._world.fleet.epoch_seen,
            known=w.journal.get(identity),
            top_fence=w.journal.top_fence(identity.run),
            stop=state.stops.get(str(identity)),
            tombstone=state.tombstones.get(identity.run),
            draining=state.draining,
            revoked=state.revoked,
            free_slots=self._free_slots(),
            runtimes=self._ready("ok", "looking"),  # who sent it knew it as ready, before this start
            unlogged=self._ready("not_logged_in"),
            ceiling=w.facts.ceiling(),
            disk_ok=w.facts.disk_ok(),
        )
