"""Decides which spans a run has: for the run, its attempts, stages and landing. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from pancode.kernel.records import Attempt, EventKind, FeedEvent, Run
from pancode.notices.traces import names

Value = str | int | float | bool
TASK_CHARS = 1_000


@dataclass(frozen=True, slots=True)
class RunSpan:
    """One span. Its ids are derived from the run and the part, so that a span made later finds its parent."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    begin_ms: int
    end_ms: int
    attributes: Mapping[str, Value] = field(default_factory=dict)
    error: str | None = None
    """What went wrong; None: no error."""


def trace_id_of(run: str) -> str:
    return sha256(f"pancode trace {run}".encode()).hexdigest()[:32]


def span_id_of(run: str, part: str) -> str:
    return sha256(f"pancode span {run} {part}".encode()).hexdigest()[:16]


def spans_of(
    run: Run, attempts: Sequence[Attempt], events: Sequence[FeedEvent], with_task: bool
) -> tuple[RunSpan, ...]:
    """Return the spans of an ended run as one trace. `events`: those of the run still in the feed."""
    end = run.finished_ms or run.created_ms
    parts = [_make_root_span(run, end, with_task)]
    for attempt in sorted(attempts, key=lambda one: one.attempt):
        times = (attempt.created_ms, attempt.finished_ms or end)
        bad = None if str(attempt.outcome) == "done" else str(attempt.failure or attempt.outcome)
        attributes = {names.ATTEMPT: attempt.attempt, **_make_usage(attempt.usage)}
        part = f"attempt {attempt.attempt}"
        parts.append(_make_part(run, (part, "run"), part, times, attributes, bad))
        parts += _make_stages(
            run, attempt, [e for e in events if e.data.get("attempt") == attempt.attempt], end
        )
    return tuple(parts)


def landing_span(run: Run, began_ms: int, at_ms: int) -> RunSpan:
    """Return the span of a landing that ended after the run, as a child of the run's span."""
    status = str(run.landing.get("status") or ("landed" if run.landed else "not landed"))
    bad = None if run.landed else status
    return _make_part(run, ("landing", "run"), "land", (began_ms, at_ms), {names.LANDING: status}, bad)


def _make_root_span(run: Run, end: int, with_task: bool) -> RunSpan:
    attributes: dict[str, Value | None] = {
        names.OPERATION: names.INVOKE_AGENT,
        names.AGENT: run.agent,
        names.CONVERSATION: run.id,
        names.PROVIDER: run.endpoint or run.runtime,
        names.MODEL: run.model,
        names.WORKFLOW: run.workflow,
        names.RUN: run.id,
        names.RUNTIME: run.runtime,
        names.OUTCOME: str(run.outcome),
        names.NODE: _text(run.result.get("node")),
        names.PARENT: run.parent,
        names.BY: run.created_by,
        names.TASK: run.task[:TASK_CHARS] if with_task else None,
        **_make_usage(run.result.get("usage")),
    }
    bad = None if str(run.outcome) == "done" else str(run.failure or run.outcome)
    known = {key: value for key, value in attributes.items() if value is not None}
    known |= {} if bad is None else {names.ERROR: bad}
    name = f"{names.INVOKE_AGENT} {run.agent}"
    return RunSpan(
        name, trace_id_of(run.id), span_id_of(run.id, "run"), None, run.created_ms, end, known, bad
    )


def _make_stages(run: Run, attempt: Attempt, events: Sequence[FeedEvent], end: int) -> Iterator[RunSpan]:
    """Yield a span for each stage of an attempt; a stage ends when the next one begins."""
    stages = [e for e in events if e.kind is EventKind.RUN_STAGE and e.data.get("stage") != "ended"]
    last = attempt.finished_ms or end
    for number, event in enumerate(stages):
        until = stages[number + 1].at_ms if number + 1 < len(stages) else max(last, event.at_ms)
        stage = str(event.data.get("stage"))
        attributes: dict[str, Value] = {names.STAGE: stage, names.NODE: event.node or ""}
        ids = (f"stage {event.number}", f"attempt {attempt.attempt}")
        yield _make_part(run, ids, stage, (event.at_ms, until), attributes, None)


def _make_part(
    run: Run,
    part: tuple[str, str],
    name: str,
    times: tuple[int, int],
    attributes: Mapping[str, Value],
    bad: str | None,
) -> RunSpan:
    """Return the span of a part of the run. `part`: keys of the part and of its parent part."""
    known = {**attributes, names.RUN: run.id, **({} if bad is None else {names.ERROR: bad})}
    return RunSpan(
        name,
        trace_id_of(run.id),
        span_id_of(run.id, part[0]),
        span_id_of(run.id, part[1]),
        times[0],
        max(times),
        known,
        bad,
    )


def _make_usage(usage: object) -> dict[str, Value]:
    if not isinstance(usage, Mapping):
        return {}
    found: dict[str, Value] = {}
    for key, name in (("input_tokens", names.INPUT_TOKENS), ("output_tokens", names.OUTPUT_TOKENS)):
        if isinstance(usage.get(key), int):
            found[name] = usage[key]
    if usage.get("cost_usd") is not None:
        found[names.COST] = float(usage["cost_usd"])
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
