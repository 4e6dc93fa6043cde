"""Takes jobs from the queue, judges each job, and writes the answer to the journal; starts held jobs when
slots become free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from node_agent.agent.publish import EventSigner, Outbox
from node_agent.agent.snapshots import SnapshotQueue
from node_agent.agent.world import Drive, World
from node_agent.attempt.accept import (
    Accept,
    AcceptView,
    AlreadyAccepted,
    Hold,
    Judgement,
    Opened,
    Refuse,
    judge_held,
    judge_job,
    open_job,
)
from node_agent.attempt.ports import Claimed, DiskFull
from node_agent.attempt.records import AcceptedData, JournalRecord, Note, at_json
from node_agent.wire import keys as names
from node_agent.wire.event import Finding, Marked, Refused
from node_agent.wire.failure import NODE_STATES, JobRefusal
from node_agent.wire.identity import FINAL, AttemptId, Mark
from node_agent.wire.model import FleetTime
from node_agent.wire.node import ProblemCode

HOLDS = 64
"""The maximum number of jobs that are held, including those whose snapshot is being fetched first."""
MOST_CLAIMS = 16
"""The maximum number of claims in one pass, as a queue full of refused jobs must not delay a stop."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Facts that change with each pass, read when needed. `ready`: returns the runtimes in these states."""

    now: Callable[[], FleetTime | None]
    free_slots: Callable[[], int]
    ready: Callable[..., frozenset[str]]


class Intake:
    """Accepts jobs. If the node dies after a claim but before the journal entry, the job is sent again."""

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
        self._snapshots = SnapshotQueue(world.workspaces, world.aside)
        self._unwritten: set[str] = set()
        """The digests of refused jobs whose refusal could not be stored because the disk was full."""
        self._signer = EventSigner(world.node, world.key, world.clock, world.fleet)

    def wants_one(self) -> bool:
        """Whether to claim a job: a slot is free, or the node can hold one more job; while draining, also in
        order to refuse it."""
        state = self._world.journal.node()
        has_room = self._free_slots() > 0 or self._may_hold()
        return self._now() is not None and (has_room or state.draining or state.revoked)

    @property
    def has_snapshots(self) -> bool:
        """Whether snapshots of claimed jobs are being fetched."""
        return len(self._snapshots) > 0

    def take_up(self) -> None:
        """Start held jobs in order while slots are free, even without a link or fleet time. DiskFull."""
        for opened in self._snapshots.done():  # The job's deadline may have passed meanwhile.
            self._answer(opened, judge_job(opened, self._view(opened.job.identity)))
        for entry in self._list_held():
            try:
                job = self._world.journal.job(entry.identity)
            except (OSError, ValueError, KeyError):
                continue  # The journal's list of problems already contains this error.
            match judge_held(job, self._view(entry.identity)):
                case Accept():
                    data, say = self._make_accepted(), (Marked(mark=Mark.ACCEPTED),)
                    self._write(entry.identity, Note(mark=Mark.ACCEPTED, data=data, say=say))
                case Refuse() as refused:
                    self._write(entry.identity, _make_refusal_note(refused))
                case Hold():
                    return

    def forgo(self, identity: AttemptId, reason: str) -> None:
        """Refuse a job whose snapshot is still being fetched. A job that has not arrived yet is accepted when
        it arrives."""
        opened = self._snapshots.drop(identity)
        if opened is not None:
            self._answer(opened, Refuse(JobRefusal.TAKEN_BACK, reason, identity))

    def _write(self, identity: AttemptId, note: Note) -> None:
        self._world.journal.write(identity, note)
        self._outbox.note(identity)
        self._drive.wake(identity)

    def _list_held(self) -> list[JournalRecord]:
        live = self._world.journal.live()
        return [entry for entry in live if entry.is_held]

    def _may_hold(self) -> bool:
        return len(self._list_held()) + len(self._snapshots) < HOLDS

    def take(self, claimed: Claimed | None, is_new: bool) -> None:
        """Process the claimed jobs, and claim more while slots are free. LinkDown."""
        received = 0
        # Since the earlier claim, the fleet time may have become known or a slot free.
        if claimed is None and not is_new and self.wants_one():
            claimed = self._world.uplink.claim()
        while claimed is not None:
            self._receive(claimed)
            received += 1
            more = received < MOST_CLAIMS and self.wants_one()
            claimed = self._world.uplink.claim() if more else None

    def _receive(self, claimed: Claimed) -> None:
        opened = open_job(claimed.envelope, self._world.keys)
        verdict = opened if isinstance(opened, Refuse) else judge_job(opened, self._view(opened.job.identity))
        if isinstance(opened, Opened) and opened.digest in self._unwritten:
            self._world.uplink.settle_job(claimed.rq_job, False, "refused before")
        elif isinstance(opened, Refuse) or (isinstance(verdict, Refuse) and verdict.identity is None):
            assert isinstance(verdict, Refuse)
            # An invalid job cannot be answered, so it is counted and removed from the queue.
            self._note(f"a job was not accepted: {verdict.why}: {verdict.detail}", ProblemCode.FORGED_JOB)
            self._world.uplink.settle_job(claimed.rq_job, False, f"{verdict.why}: {verdict.detail}")
        elif isinstance(verdict, Hold):
            self._snapshots.begin(opened)
        else:
            self._answer(opened, verdict)

    def _answer(self, opened: Opened, verdict: Judgement) -> None:
        identity = opened.job.identity
        match verdict:
            case Accept():
                self._accept(opened, Mark.ACCEPTED)
            case Hold():
                self._accept(opened, Mark.HELD)
            case AlreadyAccepted():
                self._outbox.again(identity)
                self._answer_known(identity, verdict.mark)
            case Refuse():
                self._refuse(opened, verdict)
        self._outbox.note(identity)
        self._drive.wake(identity)

    def _make_accepted(self) -> AcceptedData:
        clock = self._world.clock
        return AcceptedData(session=self._session, at=at_json(self._now()), wall=clock.wall_ms())

    def _accept(self, opened: Opened, mark: Mark) -> None:
        w = self._world
        note = Note(mark=mark, data=self._make_accepted(), say=(Marked(mark=mark),))
        try:
            w.journal.accept(opened.job, opened.digest, opened.envelope, note)
        except DiskFull:
            detail = "no room for the journal of this attempt"
            self._refuse(opened, Refuse(JobRefusal.DISK_FULL, detail, opened.job.identity))

    def _refuse(self, opened: Opened, refused: Refuse) -> None:
        if refused.why not in NODE_STATES:  # Those states are reported for as long as they last.
            self._note(f"refused: {refused.why}")
        journal, identity = self._world.journal, opened.job.identity
        if refused.why is JobRefusal.LEASE_CONFLICT:
            known = journal.get(identity)
            if known is not None and not known.final and known.mark is not Mark.RECEIPTED:
                journal.write(identity, Note(say=(Finding(level="error", text=refused.detail),)))
            return
        try:
            journal.accept(opened.job, opened.digest, opened.envelope, _make_refusal_note(refused))
        except DiskFull:
            self._unwritten.add(opened.digest)
            self._refuse_unwritten(identity, _make_refused(refused))

    def _refuse_unwritten(self, identity: AttemptId, word: Refused) -> None:
        """Send, once, a refusal that does not fit on the disk; if it is lost, the next inventory reports
        it."""
        w = self._world
        w.uplink.send(self._signer.seal([self._signer(identity, 1, word)]))
        w.uplink.settle_job(names.job_id(w.node.tag, identity), False, f"{word.why}: {word.detail}")

    def _answer_known(self, identity: AttemptId, mark: Mark) -> None:
        """Report a finished attempt again, with its receipt, as the coordinator may have lost both."""
        w = self._world
        if mark not in FINAL:
            return
        sealed = w.journal.receipt(identity)
        if sealed is not None:
            w.uplink.send(sealed)
        w.uplink.settle_job(names.job_id(w.node.tag, identity), mark is not Mark.REFUSED, "")

    def _view(self, identity: AttemptId) -> AcceptView:
        w = self._world
        state = w.journal.node()
        return AcceptView(
            fleet=w.node.fleet,
            node=w.node.tag,
            now=self._now(),
            epoch_seen=self._world.fleet.epoch_seen,
            known=w.journal.get(identity),
            top_lease=w.journal.top_lease(identity.run),
            stop=state.stops.get(str(identity)),
            tombstone=state.tombstones.get(identity.run),
            draining=state.draining,
            revoked=state.revoked,
            free_slots=self._free_slots(),
            # When the coordinator sent the job, the runtime was ready, before this node agent started.
            runtimes=self._ready("ok", "looking"),
            unlogged=self._ready("not_logged_in"),
            ceiling=w.facts.ceiling(),
            disk_ok=w.facts.disk_ok(),
            may_hold=self._may_hold(),
        )


def _make_refused(refused: Refuse) -> Refused:
    return Refused(why=refused.why, detail=refused.detail[:1000])


def _make_refusal_note(refused: Refuse) -> Note:
    why = {"why": f"{refused.why}: {refused.detail}"[:1000]}
    return Note(mark=Mark.REFUSED, data=why, say=(_make_refused(refused),))
