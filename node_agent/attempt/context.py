"""The values that every step of the attempt procedure works with, and the possible results of a step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.attempt import ports
from node_agent.attempt.accept import Ceiling
from node_agent.attempt.claims import Self
from node_agent.attempt.gateways import GatewayAccess, Gateways
from node_agent.attempt.journal import Journal
from node_agent.attempt.plans import AGAIN, ANEW, GATES, SETUP, limits_of, needs_sandbox, time_left
from node_agent.attempt.records import Data, JournalRecord, Note
from node_agent.attempt.verdict import Fault, fault_from_json, fault_to_json
from node_agent.attempt.watch import OutputWatch
from node_agent.intervals import Intervals
from node_agent.shim.spool import Ended, ExitRecord, PhaseLimits, PhasePlan, Vanished
from node_agent.vault.redact import redact_text
from node_agent.wire.clock import Clock
from node_agent.wire.event import EventBody, Marked
from node_agent.wire.identity import AttemptId, Mark, messages_in, seal_text
from node_agent.wire.job import NO_AGENT
from node_agent.wire.model import FleetTime
from node_agent.wire.receipt import TurnMessage
from node_agent.wire.signing import SigningKey


@dataclass(frozen=True, slots=True)
class Progressed:
    """The result of a step that is done; the next step may be possible at once."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The result of a step that has nothing to do for `ms`, unless the phase in `folder` ends, or one of the
    files `wakes` changes, earlier."""

    why: str
    ms: int
    folder: Path | None = None
    wakes: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The result of the last step: the attempt needs nothing more from this node."""


Turn = Progressed | Wait | Finished


@dataclass(frozen=True, slots=True)
class Context:
    """The node's ports and constant facts. `now`: fleet time; `session`: id of this node agent process."""

    node: Self
    key: SigningKey
    journal: Journal
    runner: ports.RunnerPort
    workspaces: ports.WorkspacesPort
    depot: ports.DepotLink
    runtimes: ports.Runtimes
    sessions: ports.Sessions
    gateways: Gateways
    uplink: ports.Uplink
    deliver: Callable[[str], None]
    """Send a receipt, after all events that are due. Raises LinkDown."""
    clock: Clock
    intervals: Intervals
    now: Callable[[], FleetTime | None]
    session: str
    calls: ports.CallsPort
    ceiling: Callable[[], Ceiling] = Ceiling
    """The current limits of the node's owner, read from the owner's files."""
    boot: str = ""
    """The id of the node's present boot."""

    def lay(self, identity: AttemptId, name: str, number: int, text: str) -> None:
        """Write a sealed message for the attempt's program, which accepts only sealed messages. Raises
        StepFailed, DiskFull."""
        secret = self.key.secret(messages_in(str(identity)))
        self.workspaces.tell(identity, name, seal_text(secret, number, text))


class Case:
    """One attempt of this node: its job, read once, and the state of the attempt that is only in memory."""

    def __init__(self, context: Context, identity: AttemptId) -> None:
        self.context, self.identity = context, identity
        self.job = context.journal.job(identity)
        self.folder = self.work = context.journal.folder(identity)
        self.setup, self.gates = self.folder / SETUP, self.folder / GATES
        self.anew, self.again = self.folder / ANEW, self.folder / AGAIN
        self.watch: OutputWatch | None = None
        self.sent_ms: int | None = None
        """When the receipt was last sent, on the monotonic clock; None if it was not sent yet."""
        self.backoff_ms = context.intervals.publish_first_ms
        self.resend = False
        """Whether the coordinator lacks outputs that the receipt names."""
        self.stumbles = 0
        """The number of consecutive internal errors of the node agent."""

    @property
    def entry(self) -> JournalRecord:
        found = self.context.journal.get(self.identity)
        if found is None:
            raise KeyError(str(self.identity))
        return found

    def laid(self, number: int) -> TurnMessage | None:
        """Return the user's message with this number as written for the program; None if there is none."""
        terms = self.job.turns
        if number:
            return self.entry.laid.get(number)
        return None if terms is None else TurnMessage.of(0, terms.by, self.job.task)

    @property
    def before_gates(self) -> tuple[Path, ...]:
        """Return the phases before the gates, in order; set-up only if the job has one and it must run."""
        restored = self.entry.prepared.get("restored", False)
        return (self.setup, self.work) if self.job.setup and not restored else (self.work,)

    @property
    def has_gateway(self) -> bool:
        """Whether the attempt's model calls go through a gateway of this node."""
        return self.entry.prepared.get("gateway", False)

    @property
    def phases(self) -> tuple[Path, ...]:
        """Return every phase that may have a folder."""
        before = (self.setup,) if self.job.setup else ()
        return (*before, self.work, *self.after_work) if self.is_judged else (*before, self.work)

    @property
    def after_work(self) -> tuple[Path, ...]:
        """Return the phases that judge the result."""
        return self.anew, self.gates, self.again

    def record(self, phase: Path) -> ExitRecord | None:
        """Return the record of how a phase ended; None while the phase has not ended."""
        seen = self.context.runner.look(phase)
        return seen.record if isinstance(seen, Ended) else None

    @property
    def was_accepted_before(self) -> bool:
        """Whether an earlier process of the node agent accepted the job; its files may be incomplete."""
        return self.entry.accepted.get("session") != self.context.session

    @property
    def was_prepared_before(self) -> bool:
        """Whether the attempt was prepared before the last reboot; its unsynced files may be lost."""
        return self.entry.prepared.get("boot", self.context.boot) != self.context.boot

    @property
    def was_cut_off(self) -> bool:
        """Whether a reboot ended the attempt's work, so that its unsynced files may be lost."""
        seen = self.context.runner.look(self.work)
        return isinstance(seen, Ended | Vanished) and seen.rebooted

    @property
    def limits(self) -> PhaseLimits:
        """Return the limits of the attempt; the time limit applies to all its phases together."""
        return limits_of(self.job, self.context.ceiling())

    def time_left(self) -> int:
        """Return the milliseconds of the attempt's time limit that are left after the finished phases."""
        records = [self.record(phase) for phase in self.before_gates]
        return time_left(self.job, [record for record in records if record is not None])

    @property
    def stamp(self) -> ports.CommitStamp:
        """Return message and date of the result commit; they are constant, so its id is, too."""
        job = self.job
        subject = job.task.strip().splitlines()[0][:72] if job.task.strip() else job.agent.name
        trailer = f"Pancode-Run: {job.identity}\nPancode-Agent: {job.agent.name}"
        return ports.CommitStamp(f"{subject}\n\n{trailer}", job.issued_wall_ms)

    @property
    def fault(self) -> Fault | None:
        """Return the attempt's failure, as recorded by the newest mark; None if it has not failed."""
        return fault_from_json(self.entry.newest)

    def mark(
        self,
        mark: Mark,
        fault: Fault | None,
        data: Mapping[str, Any] | None = None,
        *say: EventBody,
        baseline: str | None = None,
    ) -> Progressed:
        """Write the next mark, with the failure so far, and the event that reports the mark. The same record
        includes the marks after it that need no work."""
        left = [(mark, data or {}), *self._list_next_marks(mark, fault)]
        *passed, (last, its_data) = [(m, {**d, "fault": fault_to_json(fault)}) for m, d in left]
        detail = "" if fault is None else f"{fault.kind}: {fault.reason}"[:500]
        new = [each for each, _ in left if each not in self.entry.data]
        words = (*say, *(Marked(mark=each, detail=detail) for each in new))
        note = Note(last, its_data, tuple(passed), words, baseline=baseline, lazy=last in _REPLAYABLE)
        self.context.journal.write(self.identity, note)
        return Progressed()

    def _list_next_marks(self, mark: Mark, fault: Fault | None) -> Iterator[tuple[Mark, Data]]:
        """Yield the next marks that need no work: there is no workspace to commit, or there are no gates."""
        if mark is Mark.EXITED and self.job.workspace.kind == "none":
            mark = Mark.COMMITTED
            yield mark, {"kind": "none"}
        if mark is Mark.COMMITTED and not self.is_gated(fault):
            yield Mark.GATED, {}

    def is_gated(self, fault: Fault | None) -> bool:
        """Whether gates will check the attempt: it has not failed and has gates or a score command."""
        return fault is None and self.is_judged

    @property
    def is_judged(self) -> bool:
        """Whether the job has gates or a score command."""
        return bool(self.job.gates) or self.job.score is not None

    @property
    def has_agent(self) -> bool:
        """Whether an agent or a user's command works in the run; the run of a landing has only gates."""
        return self.job.argv != NO_AGENT

    @property
    def result(self) -> str | None:
        """Return the commit that the gates check; None without a repository."""
        committed = self.entry.committed
        is_none = committed.get("kind", "none") == "none"
        return None if is_none else committed.get("commit") or self.job.workspace.snapshot

    def put_inside(self, plan: PhasePlan, entry: GatewayAccess | None = None) -> PhasePlan:
        """Put the phase into the sandbox; StepFailed without one. `entry`: access to the model gateway."""
        shown = self.context.workspaces.repository(self.identity, self.job.workspace)
        return self.context.runtimes.enclose(self.job, plan, shown, entry, self.context.ceiling().rules)

    def enclose(self, plan: PhasePlan, work: PhasePlan, entry: GatewayAccess | None = None) -> PhasePlan:
        """Put a phase into the sandbox if the attempt's `work` is in one. StepFailed as in `put_inside`."""
        return self.put_inside(plan, entry) if needs_sandbox(work) else plan

    def cleaner(self) -> Callable[[str], str]:
        """Return a function that removes the values of secrets from a text, such as a file's name."""
        hidden = self.context.runtimes.hidden(self.job)
        return lambda text: redact_text(text, hidden)

    def prompt_digest(self) -> str:
        """Return the digest of the agent's instructions; if they are not recorded, of the job's prompt."""
        given = self.entry.prepared.get("prompt")
        return digest_of(self.job.agent.prompt) if given is None else given


_REPLAYABLE = (Mark.SPAWNED, Mark.GATED, Mark.PUSHED)
"""Marks that a power failure may undo before they are reported: they follow again from the shim's durable
records. A step that acts on the outside world makes them durable first."""


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
