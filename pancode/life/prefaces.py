"""The text that is put in front of the task of a further attempt: what went wrong in the one before."""

from __future__ import annotations

from node_agent.wire.order import MAX_TASK_BYTES
from node_agent.wire.receipt import Claims
from node_agent.wire.signing import MAX_ENVELOPE_BYTES
from pancode.agents.runtimes import RUNTIMES
from pancode.core.records import Run
from pancode.core.values import replace
from pancode.counted import first_few
from pancode.life.orders import may_exceed, size_of, task_of
from pancode.life.retries import RetryCause

MOST_OUTPUT, MOST_ANSWER, MOST_FILES = 8_000, 2_000, 20
_AGAIN = (
    "This checkout does not have the work of that attempt: you begin with the same files as it did. Do the "
    "whole task, and avoid this failure.\n\n"
)


def with_preface(run: Run, cause: RetryCause, claims: Claims, output: str) -> Run:
    """The run with the preface of its next attempt; unchanged when no model reads it, or when it would be too
    long."""
    kind = RUNTIMES.get(run.runtime)
    if cause not in (RetryCause.VERIFICATION, RetryCause.TASK) or kind is None or kind.own:
        return run
    text = _verification(claims, output) if cause is RetryCause.VERIFICATION else _task(claims)
    prefaced = replace(run, terms={**run.terms, "preface": text + _AGAIN + "The task:\n\n"})
    return prefaced if _is_carried(prefaced) else run


def _verification(claims: Claims, output: str) -> str:
    failed = [
        f"- {gate.name}: {_ended(gate.exit_code, gate.signal)}" for gate in claims.gates if not gate.passed
    ]
    shown = (
        f"\nThe end of their output:\n\n```\n{output[-MOST_OUTPUT:].strip()}\n```\n" if output.strip() else ""
    )
    return (
        "An earlier attempt at the task below was finished, and then these checks failed:\n\n"
        + "\n".join(failed)
        + f"\n{shown}{_changed(claims)}\n"
    )


def _task(claims: Claims) -> str:
    answer = claims.answer.strip()[-MOST_ANSWER:]
    shown = f"\nIts last words:\n\n```\n{answer}\n```\n" if answer else ""
    return f"An earlier attempt at the task below failed: {claims.reason}\n{shown}{_changed(claims)}\n"


def _changed(claims: Claims) -> str:
    files = claims.files_changed
    return f"\nIt had changed: {first_few(files, MOST_FILES)}\n" if files else ""


def _ended(code: int | None, signal: int | None) -> str:
    return f"signal {signal}" if signal is not None else f"exit {code}"


def _is_carried(run: Run) -> bool:
    """Whether a node would carry the order: a node refuses a larger order unread."""
    if len(task_of(run).encode(errors="replace")) > MAX_TASK_BYTES:
        return False
    return not may_exceed(run, MAX_ENVELOPE_BYTES) or size_of(run) <= MAX_ENVELOPE_BYTES
