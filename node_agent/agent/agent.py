"""One pass of the node agent: read messages, take jobs, advance attempts, report and prune. Never blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from node_agent.agent.concurrency import Concurrency, reading_of, update_concurrency
from node_agent.agent.control import Acts, Controls
from node_agent.agent.fleettime import FleetClock, read_coordinator_heartbeat
from node_agent.agent.intake import HOLDS, Intake, Moment
from node_agent.agent.publish import EventSigner, Outbox
from node_agent.agent.reports import send_report
from node_agent.agent.world import Drive, World
from node_agent.attempt.claims import Self
from node_agent.attempt.journal import Journal
from node_agent.attempt.plans import KEPT
from node_agent.attempt.ports import DiskFull, LinkDown, Sent, StepFailed
from node_agent.attempt.procedure import Context, Finished, Procedure, Turn
from node_agent.attempt.records import JournalRecord, JournalState, is_prunable, without_the_old
from node_agent.shim.spool import RunnerError
from node_agent.wire.control import Examine, TakeBack
from node_agent.wire.endpoint import AskState
from node_agent.wire.identity import AttemptId
from node_agent.wire.model import FleetTime
from node_agent.wire.node import (
    MOST_ASKS,
    MOST_PROBLEMS,
    MOST_SLOTS,
    Ask,
    GpuLoad,
    Heartbeat,
    Inventory,
    JournalEntry,
    NodeFacts,
    NodeProblem,
    ProblemCode,
    Signs,
)
from node_agent.wire.signing import WireRefusal


def select_holding(entries: Sequence[JournalRecord]) -> list[JournalRecord]:
    """Return the journal entries whose attempts occupy a slot."""
    return [entry for entry in entries if entry.holds_slot]


def gpu_holders(journal: Journal) -> dict[str, AttemptId]:
    """Return the attempts that have exclusive use of a GPU, by the GPU's UUID."""
    at_work = [entry.identity for entry in select_holding(journal.live()) if not entry.damaged]
    return {uuid: one for one in at_work for uuid in journal.job(one).gpus or ()}


class Pulse:
    """Makes the heartbeats of one session of the node agent."""

    def __init__(
        self, node: Self, session: str, boot_id: str, fleet: FleetClock, obeys: tuple[str, ...]
    ) -> None:
        self._node, self._session, self._boot_id, self._fleet = node, session, boot_id, fleet
        self._obeys = obeys
        self._seq = 0

    def make(
        self,
        state: JournalState,
        slots: int,
        live: Sequence[JournalRecord],
        facts: NodeFacts,
        boot_ms: int,
        signs: Sequence[Signs] = (),
        fewer: str = "",
        gpus: tuple[GpuLoad, ...] = (),
        profile: str | None = None,
    ) -> Heartbeat:
        """Return the next heartbeat. `fewer`: why `slots` is below the node's configured number."""
        self._seq += 1
        newest = self._fleet.newest
        return Heartbeat(
            fleet=self._node.fleet,
            node=self._node.tag,
            session=self._session,
            boot_id=self._boot_id,
            seq=self._seq,
            boot_ms=boot_ms,
            nonce=self._fleet.nonce,
            echo=None if newest is None else newest.time,
            epoch_seen=self._fleet.epoch_seen,
            control_seen=state.control_seq,
            ask=Ask(
                seq=self._seq,
                slots=0 if facts.shut else slots,
                why=fewer,
                ahead=0 if facts.shut else HOLDS,
                asks_budget=True,
                reports=True,
                open=tuple(entry.identity for entry in select_holding(live)),
            ),
            draining=state.draining or state.revoked,
            version=self._node.version,
            obeys=self._obeys,
            facts=facts,
            profile=profile,
            signs=tuple(signs[:MOST_SLOTS]),
            gpus=gpus,
        )


RESULT_MS = 3 * 86_400_000
"""How long commit and outputs of an accepted attempt are kept, for a coordinator that is restored."""
MOST_FINAL = 5_000
"""Maximum of finished attempts in an inventory, the newest first, as an envelope has a size limit."""


class InventoryDuty:
    """Decides when to send an inventory: after each answer to a nonce (start, link-up), in each epoch, and at
    intervals."""

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._last_sent: tuple[str, int] | None = None
        self._when = 0

    def is_due(self, fleet: FleetClock, now: FleetTime | None, mono_ms: int) -> bool:
        """Whether an inventory is due; never while the fleet time, which an inventory needs, is unknown."""
        if now is None or not fleet.is_answered:
            return False
        return self._last_sent != (fleet.nonce, now.epoch) or mono_ms - self._when >= self._every_ms

    def done(self, nonce: str, epoch: int, mono_ms: int) -> None:
        """Record that an inventory was sent."""
        self._last_sent, self._when = (nonce, epoch), mono_ms


def prune_journal(world: World) -> None:
    """Remove old journal entries. Idempotent. An entry whose files cannot be removed is kept for a later
    pass. DiskFull."""
    journal, wall = world.journal, world.clock.wall_ms()
    epoch = journal.node().epoch
    for entry in journal.entries():
        if is_prunable(entry, epoch, wall) and _empty_attempt(world, entry):
            journal.forget(entry.identity)
    with suppress(OSError, StepFailed):
        for identity in world.workspaces.list_results(wall - RESULT_MS):
            if journal.get(identity) is not None:
                journal.drop(identity, KEPT)
            world.workspaces.drop_result(identity)
        world.workspaces.trim(wall)
        world.sessions.trim(wall)
    journal.set_node(without_the_old(journal.node(), wall))


def _empty_attempt(world: World, entry: JournalRecord) -> bool:
    """Remove the checkout and the salvaged files of a rejected attempt; return whether that succeeded."""
    try:
        job = world.journal.job(entry.identity)
        world.workspaces.remove(entry.identity, job.workspace)
        world.workspaces.forget(entry.identity, job.workspace)
    except (StepFailed, LinkDown, OSError):
        return False
    return True


class NodeAgent:
    """One session of the node agent, with its fleet time and its outbox. `tick` is one pass."""

    def __init__(self, world: World, drive: Callable[[Procedure], Drive]) -> None:
        self.world, self._fleet = world, world.fleet
        self.session = world.ids.token(8)
        self._fleet.believe(world.journal.node().epoch)
        signer = EventSigner(world.node, world.key, world.clock, world.fleet)
        self.outbox = Outbox(world.journal, world.uplink, world.clock, world.intervals, signer.seal)
        self.say: Callable[[], None] = self.outbox.flush
        """Called in each pass to send events; may raise LinkDown."""
        ours = self.procedure = Procedure(self._make_context())
        self.drive: Drive = drive(ours)
        report = partial(send_report, world)
        acts = Acts(ours.resend, self._examine, ours.tell, ours.answer, self._forgo_job, report)
        self._controls = Controls(world.node, world.keys, world.journal, world.clock, acts)
        self._pulse = Pulse(world.node, self.session, world.facts.boot_id(), self._fleet, tuple(world.keys))
        self._inventory = InventoryDuty(world.intervals.inventory_ms)
        self._after, self.linked = "0", True
        self._concurrency: Concurrency | None = None
        self._next_heartbeat, self._next_facts, self._next_prune, self._next_look = 0, 0, 0, 0
        self._clear: set[str] = set()
        """The attempts that have ended and had no live processes when last checked."""
        self._facts: NodeFacts | None = None
        self._last_heartbeat: bytes | None = None
        self._profile, self._next_profile = "", 0
        """The digest of the profile that the coordinator's Redis has; empty: unknown."""
        self.counts: Counter[NodeProblem] = Counter()
        """How many jobs were refused, by reason, and how many messages forged the coordinator."""
        moment = Moment(self.now, self.free_slots, self._find_ready)
        self._intake = Intake(world, self.session, moment, self.outbox, self.drive, self._note)
        for name in world.journal.lost():
            world.runner.sweep(name)

    def now(self) -> FleetTime | None:
        """Return the fleet time; None while it is unknown."""
        return self._fleet.now(self.world.clock.boot_ms())

    def tick(self) -> int:
        """Carry out one pass; return the milliseconds until the next is due. All of it is safe to repeat."""
        self._take_up()
        self.linked = self._try(self.converse)
        ms = self.drive.run()
        if self.linked:
            self.linked = self._try(self.say)
        self._prune()
        self.end_leftovers()
        if self.has_work():
            return min(ms, self.world.intervals.poll_ms)
        # A fifth later than due, since the coordinator's heartbeat wakes the node before.
        late = self._next_heartbeat + self.world.intervals.heartbeat_ms // 5
        return min(max(0, late - self.world.clock.mono_ms()), self.world.intervals.idle_poll_ms)

    def has_work(self) -> bool:
        """Whether something may happen here of which no message from the coordinator tells the node."""
        w, facts = self.world, self._facts
        is_looking = facts is None or any(one.state == "looking" for one in facts.runtimes)
        is_testing = any(one.state in (AskState.WAITING, AskState.TESTING) for one in w.exams.asks())
        is_busy = bool(w.journal.live()) or self.outbox.is_due or self._intake.has_snapshots
        return is_looking or is_testing or is_busy or not self.linked

    def _take_up(self) -> None:
        try:
            self._intake.take_up()
        except DiskFull:
            self._note("the disk is full")

    def converse(self) -> None:
        """Exchange all messages that go over the link. LinkDown."""
        if not self.linked:
            self._link_up()
        wanted = self._intake.wants_one()
        news = self.world.uplink.news(self._after, wanted)
        listen, obey = partial(self._listen, news.heartbeat), partial(self._apply_controls, news.controls)
        take = partial(self._intake.take, news.claimed, wanted)
        for part in (listen, obey, self._tell_inventory, take, self._intake.take_up, self._send_heartbeat):
            try:
                part()
            except DiskFull:  # A full disk must not stop the node's heartbeats.
                self._note("the disk is full")

    def slots(self) -> int:
        """Return how many attempts may run at the same time."""
        state = self.world.journal.node()
        most = self.world.slots if state.slots is None else state.slots
        if state.least is None:
            self._concurrency = None
            return most
        now, intervals = self.world.clock.mono_ms(), self.world.intervals
        seen = reading_of(self._read_facts(now), self.procedure.uses(), now)
        self._concurrency = update_concurrency(
            self._concurrency, min(state.least, most), most, seen, now, intervals
        )
        return self._concurrency.slots

    def free_slots(self) -> int:
        return self.slots() - len(select_holding(self.world.journal.live()))

    def end_leftovers(self) -> None:
        """End processes that outlived their attempt, such as after the kill of a shim: at the start, and once
        a minute if attempts have ended since."""
        w, now = self.world, self.world.clock.mono_ms()
        if now < self._next_look:
            return
        self._next_look = now + w.intervals.leftovers_ms
        over = {str(entry.identity) for entry in w.journal.entries() if entry.final and entry.cleaned}
        # A run that continues a session names the folder of the earlier attempt, and is not its leftover.
        over -= w.workspaces.taken_places()
        if over <= self._clear:
            return
        try:
            ended = w.runner.end_leftovers(over - self._clear)
        except RunnerError as error:
            self._note(str(error))
            return
        for marker, count in ended.items():
            self._note(f"{count} processes of {marker} had outlived it and were ended")
        self._clear = over

    # -- inside

    def _make_context(self) -> Context:
        w = self.world
        return Context(
            node=w.node,
            key=w.key,
            journal=w.journal,
            runner=w.runner,
            workspaces=w.workspaces,
            depot=w.depot,
            runtimes=w.runtimes,
            sessions=w.sessions,
            gateways=w.gateways,
            uplink=w.uplink,
            deliver=self.outbox.deliver,
            clock=w.clock,
            intervals=w.intervals,
            now=self.now,
            session=self.session,
            ceiling=w.facts.ceiling,
            boot=w.facts.boot_id(),
            calls=w.calls,
        )

    def moved(self, identity: AttemptId, turn: Turn) -> None:
        """Note that the attempt has advanced, so that its events are sent."""
        self.outbox.note(identity)
        if isinstance(turn, Finished):
            self.outbox.forget(identity)

    def _try(self, talk: Callable[[], None]) -> bool:
        try:
            talk()
        except LinkDown:
            return False
        return True

    def _link_up(self) -> None:
        """Set a new nonce; the coordinator's answer to it opens the link, and an inventory follows."""
        self._fleet.renew(self.world.ids.token(8))
        self._after, self._next_heartbeat, self._profile = "0", 0, ""
        self._send_heartbeat()

    def _listen(self, heartbeat: bytes | None) -> None:
        self._hear_heartbeat(heartbeat)
        journal = self.world.journal
        if journal.node().epoch < self._fleet.epoch_seen:
            journal.set_node(replace(journal.node(), epoch=self._fleet.epoch_seen))

    def _hear_heartbeat(self, data: bytes | None) -> None:
        if data is None or data == self._last_heartbeat:
            return
        self._last_heartbeat = data
        try:
            heartbeat = read_coordinator_heartbeat(
                data, self.world.keys, self.world.node.fleet, self.world.node.tag
            )
        except WireRefusal as refusal:
            self._note(f"a heartbeat was not accepted: {refusal.code}", ProblemCode.FORGED_HEARTBEAT)
            return
        result = self._fleet.hear(heartbeat, self.world.clock.boot_ms())
        if result.answered:
            self._next_heartbeat = 0  # Echo the heartbeat now, as no job may be sent to this node before.
        if result.epoch:
            self._profile = ""  # a coordinator that has started may need it
        if result.newer:
            self._controls.settle(heartbeat.control_floor)
            self.outbox.hear(heartbeat.cursors)

    def _apply_controls(self, sent: list[Sent]) -> None:
        if not sent:
            return
        result = self._controls.take(sent)
        for words in result.forged:
            self._note(words, ProblemCode.FORGED_CONTROL)
        for words in result.unfit:
            self._note(words)
        for identity in result.touched:
            self.outbox.note(identity)
            self.drive.wake(identity)
        self._after = result.last or self._after

    def _forgo_job(self, body: TakeBack) -> None:
        self._intake.forgo(body.identity, body.reason)

    def _examine(self, request: Examine) -> None:
        """Test a model, unless the request is too old: then its caller no longer waits, and loading the model
        would be wasted."""
        now = self.now()
        if now is not None and not request.start_by.is_past(now) and not self.world.journal.node().revoked:
            self.world.exams.examine(request)

    def _tell_inventory(self) -> None:
        w, now = self.world, self.now()
        if now is None or not self._inventory.is_due(self._fleet, now, w.clock.mono_ms()):
            return
        w.journal.settle()
        # All entries that are not final, the final ones of this epoch, and the newest one, which shows a
        # coordinator whether its ledger is older than this journal.
        entries = w.journal.entries()
        known = [one for one in entries if one.final and (one.epoch >= now.epoch or one is entries[-1])]
        final = known[-MOST_FINAL:]
        listed = [entry for entry in entries if not entry.final] + final
        named = tuple(
            JournalEntry(identity=one.identity, job=one.digest, mark=one.mark, last_event=one.last_event)
            for one in listed
        )
        inventory = Inventory(
            fleet=w.node.fleet,
            node=w.node.tag,
            session=self.session,
            nonce=self._fleet.nonce,
            at=now,
            epoch_seen=self._fleet.epoch_seen,
            entries=named,
        )
        w.uplink.send(inventory.signed(w.key).model_dump_json())
        self._inventory.done(self._fleet.nonce, now.epoch, w.clock.mono_ms())

    def _send_heartbeat(self) -> None:
        w, now = self.world, self.world.clock.mono_ms()
        # Report new facts about the current servers and programs at once.
        if w.exams.news() or w.facts.news():
            self._next_facts = self._next_heartbeat = 0
        # One pass each interval: the coordinator's heartbeat wakes the node, and its own goes with that pass.
        if now < self._next_heartbeat - w.intervals.heartbeat_ms // 5:
            return
        loads, facts = w.facts.gpu_loads(), self._read_facts(now)
        profile = facts.make_profile()
        digest = profile.digest()
        held = gpu_holders(w.journal) if loads else {}
        pulse = self._pulse.make(
            w.journal.kept_node(),
            self.slots(),
            w.journal.live(),
            facts.without_profile(),
            w.clock.boot_ms(),
            self.procedure.signs(),
            self._concurrency.why if self._concurrency else "",
            tuple(one.model_copy(update={"holder": held.get(one.uuid)}) for one in loads),
            digest,
        )
        if now >= self._next_profile:
            self._profile, self._next_profile = "", now + w.intervals.profile_ms
        text = "" if digest == self._profile else profile.canonical().decode()
        w.uplink.set_heartbeat(pulse.signed(w.key).model_dump_json(), text)
        self._profile = digest
        self._next_heartbeat = now + w.intervals.heartbeat_ms

    def _find_ready(self, *states: str) -> frozenset[str]:
        facts = self._read_facts(self.world.clock.mono_ms())
        return frozenset(one.name for one in facts.runtimes if one.state in states)

    def _read_facts(self, now: int) -> NodeFacts:
        if self._facts is None or now >= self._next_facts:
            self._facts, self._next_facts = self.world.facts.look(), now + self.world.intervals.facts_ms
        problems = (*self._own_problems()[:20], *self._facts.problems)[:MOST_PROBLEMS]
        exams, wall_ms = self.world.exams, self.world.clock.wall_ms()
        seen = {"endpoints": exams.stamped(self._facts.endpoints), "asks": exams.asks()[-MOST_ASKS:]}
        return self._facts.model_copy(update={"problems": problems, "wall_ms": wall_ms, **seen})

    def _note(self, words: str, code: ProblemCode = ProblemCode.OTHER) -> None:
        """Count a problem; the node's facts report the problem and its count."""
        self.counts[NodeProblem(what=words[:480], code=code)] += 1

    def _own_problems(self) -> list[NodeProblem]:
        counted = sorted(self.counts.items(), key=lambda one: one[0].what)
        problems = [p.model_copy(update={"what": f"{p.what} ({times} times)"}) for p, times in counted]
        return problems + [NodeProblem(what=words[:500]) for words in self.world.journal.troubles()]

    def _prune(self) -> None:
        w, now = self.world, self.world.clock.mono_ms()
        if now < self._next_prune:
            return
        self._next_prune = now + w.intervals.prune_ms
        try:
            prune_journal(w)
        except DiskFull:
            self._note("the disk is full")
