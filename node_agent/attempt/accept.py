"""Decides whether a job may start or is held, by signature, time, lease, slots and owner's ceiling. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from node_agent.attempt.records import JournalRecord, PendingStop
from node_agent.runtimes.others import OtherAgent
from node_agent.wire.failure import JobRefusal
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.job import Job
from node_agent.wire.model import FleetTime, RepoId, WireModel
from node_agent.wire.node import Allowed
from node_agent.wire.other_runtimes import OTHERS
from node_agent.wire.policy import NO_RULES, Rules, Safety
from node_agent.wire.signing import PublicKey, WireRefusal, open_as, parse_envelope

LEAST_MEMORY, LEAST_PROCESSES, LEAST_DISK = 64 << 20, 32, 64 << 20
"""The minimum bytes of memory, number of processes, and bytes of disk with which a shell and its gateway can
still run."""


class CeilingFile(WireModel):
    """The contents of the owner's file `ceiling.json`. None in a field: no such limit."""

    safety: Annotated[Safety, Field(strict=False)] = Safety.FULL_AUTO
    repositories: tuple[RepoId, ...] | None = None
    runtimes: tuple[str, ...] | None = None
    memory: int | None = Field(default=None, ge=LEAST_MEMORY)
    """Bytes of memory for one run, summed over all its processes."""
    processes: int | None = Field(default=None, ge=LEAST_PROCESSES)
    """The maximum number of processes of one run, including threads."""
    disk: int | None = Field(default=None, ge=LEAST_DISK)
    """Bytes of disk for one run's checkout and home."""
    acp: dict[Annotated[str, Field(pattern=OTHERS)], OtherAgent] = {}
    """Programs that speak ACP, by the name that the owner gives them; each becomes a runtime `acp:NAME`."""


class Ceiling(CeilingFile):
    """The owner's limits. `closed`: why no run is allowed. `rules`: pansafety.yaml next to `ceiling.json`."""

    closed: str = ""
    rules: Rules = NO_RULES

    def forbids(self, job: Job) -> str | None:
        """Return the reason why the job exceeds the ceiling; None if it does not."""
        return self.told().beyond(job.safety, job.runtime, job.workspace.repo) or None

    def told(self) -> Allowed:
        """Return the ceiling for the coordinator, so that it sends no job that this node would refuse."""
        return Allowed(
            safety=self.safety, repositories=self.repositories, runtimes=self.runtimes, closed=self.closed
        )


NO_CEILING = Ceiling()


def read_ceiling(path: Path) -> Ceiling:
    """Return the limits in the owner's file: none without a file; if it is unreadable, no run is allowed."""
    try:
        parsed = CeilingFile.model_validate_json(path.read_bytes())
        return Ceiling(**dict(parsed))
    except FileNotFoundError:
        return Ceiling()
    except (OSError, ValidationError) as exc:
        first = str(exc).splitlines()[0]
        return Ceiling(closed=f"the owner's file {path} cannot be read: {first}")


def limits_text(allowed: Allowed) -> str:
    """Return the limits of a ceiling as a sentence for users."""
    parts = [f"safety {allowed.safety}"] if allowed.safety is not Safety.FULL_AUTO else []
    for what, names in (("runtimes", allowed.runtimes), ("repositories", allowed.repositories)):
        parts += [f"{what} {', '.join(names) or 'none'}"] if names is not None else []
    return f"its owner allows at most {'; '.join(parts)}"[:500]


@dataclass(frozen=True, slots=True)
class Opened:
    """A job with a valid signature."""

    job: Job
    digest: str
    envelope: str


@dataclass(frozen=True, slots=True)
class Accept:
    """The answer to a job that starts now."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The answer to a job that is stored, with its snapshot, until a slot is free."""


@dataclass(frozen=True, slots=True)
class AlreadyAccepted:
    """The answer to a job that the journal already contains: its mark is reported, and nothing is started."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class Refuse:
    """The final refusal of a job. `identity` None: the job cannot be identified, so nothing is reported."""

    why: JobRefusal
    detail: str
    identity: AttemptId | None


Judgement = Accept | Hold | AlreadyAccepted | Refuse


@dataclass(frozen=True, slots=True)
class AcceptView:
    """The facts about the node by which a job is judged."""

    fleet: str
    node: str
    now: FleetTime | None
    epoch_seen: int
    known: JournalRecord | None
    """The journal's entry for the job's identity; None if there is none."""
    top_lease: int
    """The highest lease of this run in the journal; 0 if there is none."""
    stop: PendingStop | None
    tombstone: PendingStop | None
    draining: bool
    revoked: bool
    free_slots: int
    runtimes: frozenset[str]
    """The runtimes that are ready on this node or not yet checked."""
    unlogged: frozenset[str]
    """The runtimes that lack only a login; a run that uses an endpoint of this node needs no login."""
    ceiling: Ceiling
    disk_ok: bool = True
    may_hold: bool = True
    """Whether the node may hold another job."""


def open_job(data: bytes, keys: Mapping[str, PublicKey]) -> Opened | Refuse:
    """Return the job after checking its signature and then all its fields, or a refusal."""
    try:
        envelope = parse_envelope(data)
        job = open_as(Job, envelope, keys)
    except WireRefusal as refusal:
        return Refuse(JobRefusal.BAD_ENVELOPE, f"{refusal.code}: {refusal.detail}", None)
    return Opened(job, envelope.digest(), envelope.model_dump_json())


def judge_job(opened: Opened, view: AcceptView) -> Judgement:
    """Return the decision of the first rule that applies to the job."""
    job = opened.job
    if job.fleet != view.fleet:
        return Refuse(JobRefusal.WRONG_FLEET, f"for fleet {job.fleet}", None)
    if job.node != view.node:
        return Refuse(JobRefusal.WRONG_NODE, f"for node {job.node}", None)
    if view.known is not None:
        if view.known.digest == opened.digest:
            return AlreadyAccepted(view.known.mark)
        detail = f"lease {opened.job.identity} was given to another job ({view.known.digest[:10]})"
        return Refuse(JobRefusal.LEASE_CONFLICT, detail, opened.job.identity)
    why = _find_refusal(job, view) or _not_now(job, view) or _not_here(job, view)
    if why is not None:
        return Refuse(why[0], why[1], job.identity)
    return Hold() if _must_wait(job, view) else Accept()


def judge_held(job: Job, view: AcceptView) -> Accept | Hold | Refuse:
    """Decide whether a held job starts now. Its `start_by` no longer counts, as it was checked on arrival."""
    if view.revoked or view.draining:
        state = "no longer part of the fleet" if view.revoked else "draining"
        return Refuse(JobRefusal.TAKEN_BACK, f"this node is {state}", job.identity)
    why = _not_here(job, view)
    if why is not None:
        return Refuse(why[0], why[1], job.identity)
    return Accept() if view.free_slots > 0 and view.disk_ok else Hold()


Why = tuple[JobRefusal, str] | None


def _find_refusal(job: Job, view: AcceptView) -> Why:
    """Return the reason for refusing the job if that reason will never change; else None."""
    lease = job.identity.lease
    if view.revoked:
        return JobRefusal.REVOKED, "this node is no longer part of the fleet"
    if job.epoch < view.epoch_seen:
        return JobRefusal.OLD_EPOCH, f"epoch {job.epoch} is over; the current epoch is {view.epoch_seen}"
    if view.stop is not None:
        return JobRefusal.STOPPED, view.stop.reason
    if view.tombstone is not None and lease <= view.tombstone.lease:
        return JobRefusal.TOMBSTONED, view.tombstone.reason
    if lease < view.top_lease:
        return JobRefusal.OLD_LEASE, f"lease {lease} arrived after the newer lease {view.top_lease}"
    return None


def _not_now(job: Job, view: AcceptView) -> Why:
    if view.now is None or view.now.epoch < job.epoch:
        return JobRefusal.NO_FLEET_TIME, f"this node has not received the fleet time of epoch {job.epoch} yet"
    if job.start_by.is_past(view.now):
        late = view.now.ms - job.start_by.ms if view.now.epoch == job.start_by.epoch else None
        return JobRefusal.TOO_LATE, "the latest start time has passed" + (
            f" by {late} ms" if late is not None else ""
        )
    if view.draining:
        return JobRefusal.DRAINING, "this node is draining"
    if _must_wait(job, view) and not view.may_hold:
        return JobRefusal.NO_SLOT, "every slot is taken, and the node cannot hold more jobs"
    if not view.disk_ok:
        return JobRefusal.DISK_FULL, "the free disk space is below this node's reserve"
    return None


def _must_wait(job: Job, view: AcceptView) -> bool:
    """Whether the job must wait for a slot. A job with `ahead` always joins the held jobs first."""
    return job.ahead or view.free_slots < 1


def _not_here(job: Job, view: AcceptView) -> Why:
    ready = view.runtimes if job.endpoint is None else view.runtimes | view.unlogged
    if job.runtime not in ready:
        return JobRefusal.RUNTIME_MISSING, f"runtime {job.runtime} is not ready on this node"
    beyond = view.ceiling.forbids(job)
    return None if beyond is None else (JobRefusal.CEILING, beyond)
