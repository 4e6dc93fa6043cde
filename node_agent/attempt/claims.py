"""Builds a receipt's claims from a job and the marks in the journal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from node_agent.attempt.records import Data, ExitedData, JournalRecord, PreparedData
from node_agent.attempt.verdict import fault_from_json, judge_end
from node_agent.wire.failure import Outcome
from node_agent.wire.identity import Mark
from node_agent.wire.job import Job, is_session
from node_agent.wire.model import FleetTime
from node_agent.wire.policy import Enforcement, Isolation
from node_agent.wire.receipt import (
    Blob,
    Claims,
    Enforced,
    Exposed,
    GateReport,
    GateResult,
    ModelCalls,
    Served,
    SuspendReason,
    Usage,
    UserQuestion,
)
from node_agent.wire.signing import PublicKey
from node_agent.wire.skill import TOOLS, ProposedTool, SkillMark

MAX_NAMES, MAX_NAMES_BYTES = 500, 24_000
FEW = 3
"""The maximum number of names that are listed; the rest are only counted."""
NOTHING_SPENT = Usage(cost_usd=Decimal(0), cost_source="local")


@dataclass(frozen=True, slots=True)
class Self:
    """The identity of this node."""

    fleet: str
    name: str
    version: str
    public: PublicKey

    @property
    def tag(self) -> str:
        return self.public.tag


@dataclass(frozen=True, slots=True)
class ClaimTime:
    """The moment when a receipt is sealed."""

    wall_ms: int
    at: FleetTime | None
    previous: str | None


def claims_of(node: Self, job: Job, entry: JournalRecord, prompt_digest: str, now: ClaimTime) -> Claims:
    """Return the claims of the receipt of an attempt whose newest mark is `pushed`."""
    accepted, prepared, exited = entry.accepted, entry.prepared, entry.exited
    committed, pushed, change = entry.committed, entry.pushed, entry.committed.get("kind", "none")
    end = judge_end(fault_from_json(pushed), change)
    return Claims(
        fleet=node.fleet,
        epoch=job.epoch,
        identity=job.identity,
        node=node.tag,
        node_name=node.name,
        job=entry.digest,
        node_version=node.version,
        runtime=job.runtime,
        runtime_version=prepared.get("version"),
        model=exited.get("model") or job.model,
        served=_read_served(prepared.get("served")),
        agent=job.agent.name,
        prompt_digest=prompt_digest,
        mode=job.mode,
        safety=job.safety,
        isolation=Isolation(prepared.get("isolation", Isolation.NONE)),
        enforced=_list_enforced(prepared),
        outcome=end.outcome,
        failure=end.failure,
        reason=end.reason,
        exit_code=exited.get("code"),
        signal=exited.get("signal"),
        usage=usage_from_json(exited.get("usage"), Mark.SPAWNED in entry.data),
        claimed=_read_claimed(exited.get("claimed")),
        calls=_read_calls(exited.get("calls")),
        resets_ms=exited.get("resets_ms", 0),
        session=_check_session(exited.get("session")),
        tool_calls=dict(exited.get("tools", {})),
        gates=tuple(gate_from_json(one) for one in entry.gated.get("gates", ())),
        gates_on="result" if entry.gated.get("on") == "result" else None,
        score=entry.gated.get("score"),
        reports=tuple(_report(one) for one in entry.gated.get("reports", ())),
        started_wall_ms=exited.get("began", accepted.get("wall")),
        finished_wall_ms=now.wall_ms,
        at=now.at,
        base=job.workspace.base,
        snapshot=job.workspace.snapshot,
        commit=committed.get("commit") if pushed.get("delivered") else None,
        files_changed=tuple(committed.get("files", ())),
        change=change,
        answer=exited.get("answer", ""),
        question=_read_question(exited.get("question")) if end.outcome is Outcome.BLOCKED else None,
        turns=entry.turns,
        rests=_read_rests(exited.get("rests")),
        skills=_list_skills(job, prepared.get("isolation") == Isolation.SANDBOX),
        proposed=tuple(ProposedTool.model_validate(one) for one in exited.get("proposed", ())),
        findings=findings_of(entry),
        exposed=_read_exposed(committed.get("exposed", ())),
        blobs=tuple(Blob(**blob) for blob in pushed.get("blobs", ())),
        last_event=entry.last_event,
        previous=now.previous,
    )


def _read_exposed(found: Sequence[Sequence[str]]) -> tuple[Exposed, ...]:
    return tuple(Exposed(secret=one, file=file, passing=bool(mark)) for one, file, *mark in found)


def _list_skills(job: Job, sandboxed: bool) -> tuple[SkillMark, ...]:
    """Return the skills that the agent got; the project's saved tools are included only with a sandbox."""
    laid = (one for one in job.skills if sandboxed or one.place != TOOLS)
    return tuple(SkillMark(name=one.name, digest=one.digest) for one in laid)


def _read_question(raw: Data | None) -> UserQuestion | None:
    return None if raw is None else UserQuestion.model_validate(raw, strict=False)


def _read_rests(why: str | None) -> SuspendReason | None:
    return None if why is None else SuspendReason(why)


def findings_of(entry: JournalRecord) -> tuple[str, ...]:
    """Return the findings of all marks, in order, then those recorded between marks, without duplicates."""
    seen: dict[str, None] = {}
    for left in entry.data.values():
        seen.update(dict.fromkeys(left.get("findings", ())))
    seen.update(dict.fromkeys(entry.findings))
    return tuple(seen)


def _list_enforced(prepared: PreparedData) -> tuple[Enforced, ...]:
    return tuple(Enforced(rule=rule, how=Enforcement(how)) for rule, how in prepared.get("enforced", ()))


def limit_names(names: Iterable[str]) -> tuple[list[str], int]:
    """Return the first names, as many as a record may contain, and the number of omitted names."""
    every = list(names)
    kept, size = [], 0
    for name in every[:MAX_NAMES]:
        size += len(name.encode("utf-8", "surrogatepass"))
        if size > MAX_NAMES_BYTES:
            break
        kept.append(name)
    return kept, len(every) - len(kept)


def such_as(names: list[str], more: int = 0) -> str:
    """Return a short text that names some of the files. `more`: the number of further files."""
    count = len(names) + more
    if count <= FEW:
        return ", ".join(names)
    return f"{count} files, such as {', '.join(names[:FEW])}"


def usage_to_json(usage: Usage) -> dict[str, Any]:
    """Return the usage as plain JSON, with money as a decimal string."""
    return usage.model_dump(mode="json")


NEVER_RAN: ExitedData = {"usage": usage_to_json(NOTHING_SPENT)}
"""The mark's data for an agent that was never started: it used nothing."""


def usage_from_json(raw: Data | None, spawned: bool) -> Usage:
    """Read the usage from JSON. If `raw` is None, it is zero if no program was started, else unknown."""
    if raw is None:
        return Usage() if spawned else NOTHING_SPENT
    return Usage.model_validate(dict(raw), strict=False)


def _check_session(name: str | None) -> str | None:
    """Return the name if it is a valid session name, else None; the run's own commands may have forged it."""
    return name if name is not None and is_session(name) else None


def _read_claimed(raw: Data | None) -> Usage | None:
    return None if raw is None else Usage.model_validate(dict(raw), strict=False)


def _read_served(raw: Data | None) -> Served | None:
    return None if raw is None else Served.model_validate(dict(raw), strict=False)


def _read_calls(raw: Data | None) -> ModelCalls | None:
    return None if raw is None else ModelCalls.model_validate(dict(raw))


def _report(raw: Data) -> GateReport:
    return GateReport.model_validate(dict(raw), strict=False)


def gate_from_json(raw: Data) -> GateResult:
    return GateResult.model_validate(dict(raw), strict=False)
