"""Builds the job of a run for a node, before it is signed."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

from node_agent.wire.endpoint import Sampling
from node_agent.wire.fleet import FleetTerms, FleetTool
from node_agent.wire.identity import LAST_ATTEMPT, AttemptId
from node_agent.wire.job import AgentSpec, Gate, Job, Limits, Resumed, TurnTerms, Workspace
from node_agent.wire.model import MOST, FleetTime
from node_agent.wire.policy import Rules, compile_policy
from node_agent.wire.sealing import SEALED_FOR, open_files, seal_files
from node_agent.wire.signing import Envelope, PublicKey, Signature, SigningKey
from node_agent.wire.skill import TOOLS, JobSkill, SkillMark
from pancode.agents.runtimes import RUNTIMES
from pancode.kernel.records import Lease, NextAttempt, Run, TurnTaking
from pancode.runs.facts import FleetLead, GateTerms, Messages, Provision, SessionTurn
from pancode.runs.life.conversation import opener_of

NUMBERS_IN_AN_EPOCH = 1_000_000
"""How many numbers each epoch has: control messages, and leases of runs from an older epoch, get numbers
above those of all earlier epochs. So a restored ledger never reuses a forgotten number."""

NO_TOOLS: Mapping[str, FleetTool] = {}
_FRAME, _WIDEST, _TOOLS = 16_384, 8, 131_072
"""The most bytes of a job without its texts; of one character in it (six as JSON, a third more as base64);
and of the tools that an orchestrator gets."""


RESERVED = "reserved_usd"
"""The limit of a job with the amount that is reserved for the attempt, if its node asks for more."""


def limits_of(data: dict[str, Any]) -> Limits:
    """Parse limits from the ledger's JSON values."""
    usd, reserved = (
        None if data.get(name) is None else Decimal(str(data[name])) for name in ("usd", RESERVED)
    )
    return Limits(
        wall_ms=data["wall_ms"],
        idle_ms=data["idle_ms"],
        output_bytes=data["output_bytes"],
        tokens=data.get("tokens"),
        usd=usd,
        reserved_usd=reserved,
        requests=data.get("requests"),
        wrap_up=bool(data.get("wrap_up")),
        memory_bytes=data.get("memory_bytes"),
        processes=data.get("processes"),
        disk_bytes=data.get("disk_bytes"),
        turns=data.get("turns"),
    )


def job_for(
    run: Run,
    fleet: str,
    tag: str,
    lease: int,
    times: tuple[int, FleetTime],
    tools: Mapping[str, FleetTool] = NO_TOOLS,
    ahead: bool = False,
    gpus: tuple[str, ...] | None = None,
    copied: str = "",
) -> Job:
    """Return the job of the run's current attempt for one node; `times` = (wall clock now, start-by);
    `tools`: the fleet's tools, by name; `ahead`: the node may keep the job until a slot is free."""
    issued_wall_ms, start_by = times
    rules, gates, given = rules_of(run.rules), GateTerms.of(run), Provision.of(run)
    policy = compile_policy(
        run.safety, run.read_only, run.told_only, mode=run.mode, rules=rules, sandboxed=given.walled
    )
    return Job(
        fleet=fleet,
        epoch=start_by.epoch,
        identity=AttemptId(run=run.id, attempt=run.attempt, lease=lease),
        node=tag,
        issued_wall_ms=issued_wall_ms,
        start_by=start_by,
        agent=_make_spec(run),
        task=task_of(run),
        argv=tuple(run.argv) if run.argv is not None else None,
        runtime=run.runtime,
        model=run.model,
        endpoint=run.endpoint,
        untested=run.untested,
        reasoning=run.reasoning,
        mode=run.mode,
        safety=run.safety,
        policy=policy,
        workspace=Workspace.model_validate(workspace_of(run)),
        setup=tuple(tuple(argv) for argv in run.setup),
        cache=tuple(run.cache),
        cache_key=given.cache_key,
        ports=given.ports,
        gates=tuple(_make_gate(g) for g in run.gates),
        score=gates.score or None,
        reports=gates.reports or (),
        reads=gates.reads,
        limits=limits_of(run.limits),
        env=tuple(run.env),
        secrets=tuple(run.secrets),
        skills=_list_skills(run),
        depth=run.depth,
        resume=_make_resumed(run),
        answer=(Messages.of(run).answers or None) if RUNTIMES[run.runtime].own else None,
        turns=_make_turn_terms(run),
        fleet_tools=_make_fleet_terms(run, tools),
        ahead=ahead,
        copied=copied,
        gpus=gpus,
        trace=run.trace,
    )


def seal_copied(run: Run, keys: Iterable[SigningKey], node_key: str | None, lease: int) -> str:
    """Return the run's copied files, sealed for the node's key and the attempt; empty: there are none.

    `keys`: the coordinator's present and former keys. ValueError if none of them opens the
    files, or the node's key is not known.
    """
    kept, subject = Provision.of(run).copied, str(AttemptId(run=run.id, attempt=run.attempt, lease=lease))
    if not kept:
        return ""
    if node_key is None:
        raise ValueError("the key of its node is not known, so its copied files cannot be sealed")
    for key in keys:
        with suppress(ValueError):
            return seal_files(open_files(kept, key, SEALED_FOR), PublicKey.parse(node_key), subject)
    why = "the coordinator no longer has the key for which the run's copied files were sealed"
    raise ValueError(f"{why}; pancode runs retry {run.id} seals them again")


def snapshot_of(run: Run, attempt: int) -> str | None:
    """Return the commit at which this attempt begins: the run's snapshot, or an earlier attempt's result."""
    left = [one.commit for one in NextAttempt.of(run).went_on if one.after < attempt]
    found = left[-1] if left else run.workspace.get("snapshot")
    return found if isinstance(found, str) else None


def workspace_of(run: Run) -> dict[str, Any]:
    """Return the workspace of the run's current attempt, as the job describes it."""
    return (
        {**run.workspace, "snapshot": snapshot_of(run, run.attempt)}
        if NextAttempt.of(run).went_on
        else run.workspace
    )


def _make_fleet_terms(run: Run, tools: Mapping[str, FleetTool]) -> FleetTerms | None:
    found = [tools[name] for name in FleetLead.of(run).fleet if name in tools]
    return FleetTerms(tools=tuple(found)) if found else None


def _make_turn_terms(run: Run) -> TurnTerms | None:
    terms = TurnTaking.of(run).turns
    if not terms:
        return None
    return TurnTerms(**{**terms, "by": name_of(opener_of(run))}, story=SessionTurn.of(run).story)


def _list_skills(run: Run) -> tuple[JobSkill, ...]:
    """Return the skills for the job; none if the runtime (after a move to another) does not support any."""
    reads = RUNTIMES[run.runtime].skills
    return tuple(JobSkill.model_validate(one) for one in Provision.of(run).skills) if reads else ()


def skill_marks(run: Run) -> tuple[SkillMark, ...]:
    """Return the run's skills as a receipt lists them."""
    return tuple(SkillMark(name=one.name, digest=one.digest) for one in _list_skills(run))


def unwalled_marks(run: Run) -> tuple[SkillMark, ...]:
    """Return the run's skills as an unsandboxed run's receipt lists them: without those that are tools."""
    bare = (one for one in _list_skills(run) if one.place != TOOLS)
    return tuple(SkillMark(name=one.name, digest=one.digest) for one in bare)


MOST_OF_A_NAME = 200


def name_of(user: str) -> str:
    """Return the user's name for a node, cut to the allowed length."""
    return user[:MOST_OF_A_NAME]


def task_of(run: Run) -> str:
    """Return the text for the agent: the task, preceded by why the previous attempt failed, if it did."""
    return NextAttempt.of(run).preface + run.task


def _make_resumed(run: Run) -> Resumed | None:
    return Resumed.model_validate(run.resumes, strict=False) if run.resumes else None


def _make_spec(run: Run) -> AgentSpec:
    sampling = Provision.of(run).sampling
    return AgentSpec(
        name=run.agent,
        prompt=run.prompt,
        tools=tuple(run.tools),
        read_only=run.read_only,
        sampling=Sampling.model_validate(sampling, strict=False) if sampling else None,
    )


def may_exceed(run: Run, size: int) -> bool:
    """Whether the run's job may exceed `size` bytes; a rough check that often avoids an exact one."""
    return _FRAME + _TOOLS + _WIDEST * len(repr(run)) > size


def rules_of(data: dict[str, object]) -> Rules:
    """Parse rules from the ledger's JSON values."""
    return Rules.model_validate(data, strict=False)


def size_of(run: Run) -> int:
    """Return the most bytes that the run's signed job can have, for any node, attempt and lease."""
    longest = FleetTime(epoch=MOST, ms=MOST)
    where, times = (f"f-{24 * 'x'}", 10 * "f", MOST), (MOST, longest)
    job = job_for(replace(run, attempt=LAST_ATTEMPT), *where, times, copied=Provision.of(run).copied)
    envelope = Envelope(
        payloadType=Job.payload_type(),
        payload=base64.b64encode(job.canonical()).decode(),
        signatures=(Signature(keyid=64 * "f", sig=88 * "x"),),
    )
    return len(envelope.model_dump_json()) + (_TOOLS if FleetLead.of(run).fleet else 0)


def _make_gate(data: dict[str, Any]) -> Gate:
    return Gate(name=data["name"], argv=tuple(data["argv"]))


def identity_of(lease: Lease) -> AttemptId:
    return AttemptId(run=lease.run, attempt=lease.attempt, lease=lease.lease)


def start_by_of(lease: Lease) -> FleetTime:
    return FleetTime(epoch=lease.start_by_epoch, ms=lease.start_by_ms)


def may_push(lease: Lease, now: FleetTime) -> bool:
    """Whether the lease's stored job envelope may still be queued unchanged."""
    return lease.start_by_epoch == now.epoch and not start_by_of(lease).is_past(now)


def lease_of(job: Job, envelope: Envelope, node: str, provider: str) -> Lease:
    """Return the new lease for this signed job."""
    identity, start_by = job.identity, job.start_by
    return Lease(
        run=identity.run,
        attempt=identity.attempt,
        lease=identity.lease,
        node=node,
        tag=job.node,
        job=envelope.model_dump_json(),
        digest=envelope.digest(),
        start_by_epoch=start_by.epoch,
        start_by_ms=start_by.ms,
        bound_ms=job.issued_wall_ms,
        ahead=job.ahead,
        provider=provider,
    )
