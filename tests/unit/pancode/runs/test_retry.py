"""A retry asks for what the run asked for: its model with node and provider, and how hard it was to think."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from node_agent.wire.job import Reasoning, Resumed
from node_agent.wire.model import FleetTime
from pancode.kernel.errors import UsageError
from pancode.kernel.records import Run
from pancode.runs.admission.plan import Plan
from pancode.runs.admission.resolution import resolve
from pancode.runs.life.jobs import job_for
from pancode.runs.request import DispatchRequest, request_from
from pancode.runs.retry import add_session, request_of
from tests.unit.pancode.kernel.fleets import catalogue, endpoint, node, resolved


def again(**options: Any) -> DispatchRequest:
    there = node("gpubox", endpoints=(endpoint("ollama", "qwen3:8b"),))
    chosen = resolved(node("desk"), there, **options)
    return request_of(chosen.run("r-0001", 0, "t", {"kind": "none"}), "ana")


def test_the_model_is_asked_for_as_it_was() -> None:
    asked = again(model="gpubox/ollama/qwen3:8b", runtime="opencode", reasoning=Reasoning.LOW)
    assert (asked.model, asked.runtime, asked.node) == ("gpubox/ollama/qwen3:8b", "opencode", "gpubox")
    assert asked.reasoning is Reasoning.LOW
    asked = again(model="anthropic/claude-opus-5")
    assert (asked.model, asked.runtime, asked.reasoning) == ("anthropic/claude-opus-5", "claude", None)
    assert again().model is None


def test_its_limits_are_those_of_before() -> None:
    limits = {
        "idle_timeout_ms": 9_000,
        "max_turns": 3,
        "max_tokens": 50_000,
        "max_output": 1 << 20,
        "max_memory": 1 << 30,
        "max_processes": 64,
        "max_disk": 1 << 30,
    }
    asked = again(model="ollama/qwen3:8b", **limits)
    assert {name: getattr(asked, name) for name in limits} == limits
    assert again(runtime="shell", max_output=1 << 20).max_tokens is None


def test_rows_and_runs_of_before_are_read() -> None:
    """Options had another name and wider bounds once; what was stored then can still be begun."""
    assert request_from({"task": "t", "max_attempts": 3}, "ana").attempts == 3
    run = resolved(node("desk"), verify_retries=2).run("r-0001", 0, "t", {"kind": "none"})
    old = replace(run, max_attempts=20, terms={**run.terms, "verify_retries": 50})
    asked = request_of(old, "ana")
    assert (asked.attempts, asked.verify_retries) == (10, 9)
    assert isinstance(resolve(asked, catalogue(node("desk"))), Plan)


def ended(runtime: str, **result: object) -> Run:
    return replace(
        resolved(node("desk"), runtime=runtime).run("r-0001", 0, "t", {"kind": "none"}), result=result
    )


def test_a_session_is_gone_on_with_on_its_node_and_signed_into_the_job() -> None:
    old = ended("claude", session="s-1", node="desk")
    asked = add_session(old, request_of(old, "ana"))
    assert asked.node == "desk"
    found = resolve(asked, catalogue(node("desk"), node("other")))
    assert isinstance(found, Plan)
    run = replace(found.run("r-0002", 0, "t", {"kind": "none"}), attempt=1)
    job = job_for(run, "f-7f3k2q", "0123456789", 1, (0, FleetTime(epoch=1, ms=1)))
    assert job.resume == Resumed(run="r-0001", session="s-1")
    plain = request_of(run, "ana")
    assert plain.resume == {}, "a retry of that one begins anew, if nobody says otherwise"


@pytest.mark.parametrize(
    ("runtime", "result", "words"),
    [
        ("claude", {"node": "desk"}, "has not reported a session"),
        ("claude", {"session": "s-1"}, "has not reported a session"),
        ("shell", {"session": "s-1", "node": "desk"}, "shell"),
    ],
)
def test_what_has_no_session_is_refused_with_the_retry_without(
    runtime: str, result: dict[str, object], words: str
) -> None:
    old = ended(runtime, **result)
    with pytest.raises(UsageError, check=lambda error: error.code == "no_session") as caught:
        add_session(old, request_of(old, "ana"))
    assert words in caught.value.why and "pancode runs retry r-0001" in caught.value.fix
