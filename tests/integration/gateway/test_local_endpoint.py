"""Runs at an endpoint of the node: llama.cpp itself on each wire, at no cost, within its slots."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.attempt.ports import StepFailed
from node_agent.endpoints.table import EndpointTable
from node_agent.gateway import spec as places
from node_agent.gateway.counting import Count
from node_agent.gateway.opening import GatewayProcesses, Near
from node_agent.gateway.slots import Full, SlotLocks, is_taken
from node_agent.wire.clock import SystemClock, SystemIds
from node_agent.wire.failure import FailureKind
from node_agent.wire.job import Job
from tests.endpointfakes import Generic, Ollama, Vllm, serving
from tests.endpointfakes.apps import ollama_model
from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.gateways import Agent, Lab, job_of, until
from tests.integration.gateway.tls import authority
from tests.tinyllama import Tiny, tiny_server

HELLO = [{"role": "user", "content": "[[hello]]"}]
WIRES: dict[str, tuple[str, dict[str, Any]]] = {
    "opencode": ("/v1/chat/completions", {"messages": HELLO}),
    "codex": ("/v1/responses", {"input": "[[hello]]"}),
    "claude": ("/v1/messages", {"messages": HELLO, "max_tokens": 50}),
}


@pytest.fixture(scope="module")
def tiny() -> Iterator[Tiny]:
    with tiny_server(slots=1, layers=12, api_key="k") as one:
        yield one


def near_lab(lab: Lab, endpoints: list[dict[str, Any]]) -> Lab:
    """A lab on a node whose owner lists these."""
    (lab.root / "endpoints.json").write_text(json.dumps({"ports": [], "endpoints": endpoints}))
    table = EndpointTable(lab.root, SystemClock(), lambda: lab.values)
    near = Near(table.server, lab.root / "slots")
    lab.gateways = GatewayProcesses(sys.executable, SystemIds(), lambda: lab.values, dict, near=near)
    return lab


def at(runtime: str, endpoint: str, model: str, **limits: Any) -> Job:
    return job_of(runtime, model=model, **limits).model_copy(update={"endpoint": endpoint})


@pytest.fixture
def near(lab: Lab, tiny: Tiny) -> Lab:
    lab.values["TINY"] = "k"
    return near_lab(lab, [{"name": "mine", "url": tiny.url, "key": "TINY"}])


@pytest.mark.parametrize("runtime", WIRES)
@pytest.mark.parametrize("stream", [False, True])
def test_each_wire_is_metered_and_costs_nothing_whatever_the_model_is_called(
    near: Lab, runtime: str, stream: bool
) -> None:
    """`gpt-5` has a public price; here it is a name on the owner's own machine."""
    path, body = WIRES[runtime]
    agent = near.open(at(runtime, "mine", "gpt-5"))
    status, answer = agent.post(path, {**body, "model": "gpt-5", "stream": stream})
    assert status == 200 and b"Hell" in answer
    told = agent.counted()
    assert (told.usage.cost_usd, told.usage.cost_source) == (Decimal(0), "local")
    assert told.usage.input_tokens + told.usage.cached_tokens > 0 and told.usage.output_tokens >= 8
    assert (told.calls.requests, told.calls.unread, told.unpriced) == (1, 0, "")


def test_an_answer_that_breaks_off_costs_nothing_either(near: Lab) -> None:
    agent = near.open(at("opencode", "mine", "m"))
    messages = [{"role": "user", "content": "[[long]]"}]
    until(lambda: places.read_count(agent.folder) is not None)
    agent.hang_up("/v1/chat/completions", {"model": "m", "messages": messages, "stream": True})
    told = agent.counted()
    assert (told.usage.cost_usd, told.usage.cost_source, told.calls.unread) == (Decimal(0), "local", 1)


def test_limits_of_tokens_hold_there(near: Lab) -> None:
    agent = near.open(at("opencode", "mine", "m", tokens=8))
    body = {"model": "m", "messages": HELLO}
    assert agent.post("/v1/chat/completions", body)[0] == 200
    assert agent.post("/v1/chat/completions", body)[0] == 403
    assert agent.counted().limit == "tokens"


def test_runs_of_one_node_share_the_slots_of_a_server(near: Lab) -> None:
    """While another run has the only slot, a call is taken down, waits, and goes out when it is free."""
    agents = [near.open(at("opencode", "mine", "m"), name) for name in ("a", "b")]
    body = {"model": "m", "messages": HELLO}
    found: list[int] = []

    def ask(agent: Agent) -> None:
        found.append(agent.post("/v1/chat/completions", body)[0])

    async def hold() -> None:
        async with SlotLocks(str(near.root / "slots" / "mine"), 1).one(lambda seconds: None):
            for thread in threads:
                thread.start()
            for agent in agents:
                until(lambda one=agent: (places.read_count(one.folder) or Count()).requests == 1)  # type: ignore[misc]
            assert found == []

    threads = [threading.Thread(target=ask, args=(agent,)) for agent in agents]
    asyncio.run(hold())
    for thread in threads:
        thread.join()
    told = [agent.counted() for agent in agents]
    assert found == [200, 200]
    assert all(one.calls.waited_ms > 0 for one in told)
    assert not is_taken(near.root / "slots" / "mine")


def test_a_slot_is_waited_for_and_not_for_ever(tmp_path: Path) -> None:
    """One that dies gives its slot back: the kernel does."""
    waits: list[float] = []

    async def story() -> None:
        first, second = SlotLocks(str(tmp_path), 1), SlotLocks(str(tmp_path), 1, patience_s=0.05)
        async with first.one(waits.append):
            assert is_taken(tmp_path)
            with pytest.raises(Full, match="the only slot of the model server"):
                async with second.one(waits.append):
                    raise AssertionError("two have one slot")
        async with second.one(waits.append):
            assert is_taken(tmp_path)

    asyncio.run(story())
    assert waits[0] == 0 and waits[1] >= 0.05 and len(waits) == 2


@pytest.mark.parametrize(
    ("runtime", "endpoint", "kind", "words"),
    [
        ("opencode", "none", FailureKind.MODEL_FAILED, "endpoint none is not available"),
        ("opencode", "locked", FailureKind.MODEL_AUTH, "it requires a key"),
        ("claude", "plain", FailureKind.CANNOT_START, "offers chat, but claude needs messages"),
        ("gemini", "plain", FailureKind.CANNOT_START, "offers chat, but gemini needs None"),
    ],
)
def test_what_cannot_be_is_said_before_the_agent_starts(
    lab: Lab, runtime: str, endpoint: str, kind: FailureKind, words: str
) -> None:
    with serving(Vllm(key="k")) as locked, serving(Generic()) as plain:
        listed = [{"name": "locked", "url": locked.url}, {"name": "plain", "url": plain.url}]
        with pytest.raises(StepFailed, match=words) as failed:
            near_lab(lab, listed).open(at(runtime, endpoint, "m"))
    assert failed.value.kind is kind


def test_a_model_that_ollama_asks_in_the_cloud_is_not_free(lab: Lab) -> None:
    models = [ollama_model("gpt-oss:120b-cloud", remote_host="https://ollama.com")]
    with serving(Ollama(models=models), harmless=False) as server:
        lab = near_lab(lab, [{"name": "ollama", "url": server.url}])
        agent = lab.open(at("opencode", "ollama", "gpt-oss:120b-cloud"))
        assert (
            agent.post("/v1/chat/completions", {"model": "gpt-oss:120b-cloud", "messages": HELLO})[0] == 200
        )
        assert agent.counted().usage.cost_source == "unknown"


def test_behind_tls_with_an_authority_of_the_owner_s_own(lab: Lab, tmp_path: Path) -> None:
    ca, context = authority(tmp_path)
    model = FakeModel({**preset("text"), "api_key": "k"}, "openai")
    model.httpd.socket = context.wrap_socket(model.httpd.socket, server_side=True)
    lab.values["TOWER"] = "k"
    with model:
        listed = {
            "name": "tower",
            "url": f"https://127.0.0.1:{model.port}/v1",
            "key": "TOWER",
            "wires": ["chat"],
        }
        with pytest.raises(StepFailed, match="tower"):
            near_lab(lab, [listed]).open(at("opencode", "tower", "m"))
        agent = near_lab(lab, [{**listed, "ca": str(ca)}]).open(at("opencode", "tower", "m"))
        assert agent.post("/v1/chat/completions", {"model": "m", "messages": HELLO})[0] == 200
        assert agent.counted().usage.cost_source == "local"
