"""A retry asks for what the run asked for: its model with node and provider, and how hard it was to think."""

from __future__ import annotations

from typing import Any

from node_agent.wire.order import Reasoning
from pancode.control.again import request_of
from pancode.domain.request import DispatchRequest
from tests.unit.pancode.domain.fleets import endpoint, node, resolved


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
