"""Runs whose model calls go through the node's gateway: real processes, a scripted model server."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.gateway import spec as places
from node_agent.machine import discovery
from node_agent.wire.control import SetSlots
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.node import Ask
from node_agent.wire.receipt import Claims
from node_agent.wiring import Parts
from tests.fakemodel import FakeModel, preset
from tests.integration.node.gateway_world import KEY, GatewayWorld
from tests.integration.node.node_world import until

MODEL = "claude-sonnet-4-5"


@pytest.fixture
def model() -> Iterator[FakeModel]:
    with FakeModel({**preset("text"), "api_key": KEY}) as one:
        yield one


@pytest.fixture
def world(tmp_path: Path, model: FakeModel) -> Iterator[GatewayWorld]:
    one = GatewayWorld(tmp_path, model, "claude", fake_claude(tmp_path))
    one.home.prices.write_text(json.dumps({MODEL: "1 0.1 2 10"}))
    one.begin()
    yield one
    one.end()


def fake_claude(folder: Path) -> str:
    """A PATH with the program on it."""
    program = folder / "installed" / "bin" / "claude"
    program.parent.mkdir(parents=True)
    source = Path(__file__).with_name("fake_claude.py").read_text()
    program.write_text(f"#!{sys.executable}\n{source}")  # one file, which is all that a sandbox shows of it
    program.chmod(0o755)
    return f"{program.parent}:{os.defpath}"


def acts(world: GatewayWorld, *each: tuple[str, str], **changes: Any) -> Job:
    """A job for these acts of the program."""
    return world.job(json.dumps(each), run=f"r-gate{os.getpid()}", runtime="claude", model=MODEL, **changes)


def tokens(claims: Claims) -> tuple[int, int, int]:
    usage = claims.usage
    return usage.input_tokens, usage.cached_tokens, usage.output_tokens


def limited(job: Job, **limits: Any) -> Job:
    return job.model_copy(update={"limits": job.limits.model_copy(update=limits)})


def test_the_gateway_s_count_is_in_the_receipt_beside_the_claim(
    world: GatewayWorld, model: FakeModel
) -> None:
    claims = world.run(acts(world, ("ask", MODEL), ("ask", MODEL)))
    assert (claims.outcome, claims.reason) == (Outcome.DONE, "done, nothing changed")
    assert tokens(claims) == (2400, 1000, 68) and len(model.requests) == 2
    assert (claims.usage.cost_usd, claims.usage.cost_source) == (Decimal("0.00318"), "metered")
    assert claims.claimed is not None and claims.calls is not None
    assert (claims.claimed.cost_usd, claims.claimed.cost_source) == (Decimal("0.5"), "reported")
    assert claims.claimed.input_tokens == 2400 and claims.calls.requests == 2
    assert not claims.findings
    assert places.find_gateway(world.attempt) is None, "it ended with the attempt"


class QuickWorld(GatewayWorld):
    """Its node agent takes a slot away after half a second of strain."""

    def built(self) -> Parts:
        parts = super().built()
        intervals = replace(parts.world.intervals, tighten_ms=500)
        return replace(parts, world=replace(parts.world, intervals=intervals))


def test_a_rate_limit_that_is_nearly_used_up_takes_a_slot_and_the_node_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = {"memory_free": lambda: None, "read_temperature": lambda: None}  # whatever else this machine does
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 0.1, 0.1))
    for name, told in calm.items():
        monkeypatch.setattr(discovery, name, told)
    used = {"input_tokens": 1, "cache_read_input_tokens": 0, "output_tokens": 1}
    rate = {"anthropic-ratelimit-requests-limit": 50, "anthropic-ratelimit-requests-remaining": 2}
    answer = {"type": "message", "model": MODEL, "content": [], "stop_reason": "end_turn", "usage": used}
    fault = {"status": 200, "headers": rate, "body": answer}
    with FakeModel({"api_key": KEY, "turns": [{"fault": fault}]}) as model:
        world = QuickWorld(tmp_path, model, "claude", fake_claude(tmp_path))
        world.begin()
        try:
            world.coordinator.tell(SetSlots(slots=2, least=1))
            world.coordinator.push(acts(world, ("ask", MODEL), ("wait", "30")))

            def fewer() -> Ask | None:
                heartbeat = world.coordinator.heartbeat()
                return heartbeat.ask if heartbeat is not None and heartbeat.ask.slots == 1 else None

            assert until(fewer, "one slot less").why == "4% left of the rate limit of claude's provider"
        finally:
            world.end()


def test_a_claim_that_differs_is_a_finding(world: GatewayWorld) -> None:
    lie = json.dumps({"type": "assistant", "message": {"id": "x", "usage": {"input_tokens": 1}}}) + "\n"
    claims = world.run(limited(acts(world, ("ask", MODEL), ("print", lie), ("wait", "60")), wall_ms=4_000))
    assert claims.outcome is Outcome.TIMEOUT and tokens(claims) == (1200, 500, 34)
    (finding,) = claims.findings
    assert (
        "the runtime reports 1 in, 0 from cache, 0 out tokens" in finding
        and "counted 1200 in, 500 from cache" in finding
    )


def test_the_key_is_in_no_environment_that_the_agent_sees_and_in_no_file(world: GatewayWorld) -> None:
    claims = world.run(acts(world, ("ask", MODEL), ("env", "")))
    log = world.log(claims.identity)
    assert claims.outcome is Outcome.DONE and b"ANTHROPIC_API_KEY=pancode-" in log
    assert b"[secret " not in log and KEY.encode() not in log, "what it prints of a key would be hidden"
    own = json.loads(log.splitlines()[0])["own"]
    assert own["ANTHROPIC_API_KEY"].startswith("pancode-")
    assert own["ANTHROPIC_BASE_URL"].startswith("http://127.0.0.1:")
    for path in [one for one in world.home.root.rglob("*") if one.is_file()]:
        assert path == world.home.secrets or KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("limits", "failure", "words"),
    [
        ({"tokens": 2000}, FailureKind.TOKEN_LIMIT, "tokens"),
        ({"usd": Decimal("0.003")}, FailureKind.USD_LIMIT, "$0.00318"),
        ({"requests": 2}, FailureKind.REQUEST_LIMIT, "2 model calls were made"),
    ],
)
def test_past_its_limit_a_run_is_stopped_there(
    world: GatewayWorld, model: FakeModel, limits: dict[str, Any], failure: FailureKind, words: str
) -> None:
    claims = world.run(limited(acts(world, *[("ask", MODEL)] * 9), **limits))
    assert (claims.outcome, claims.failure) == (Outcome.BUDGET_EXCEEDED, failure), claims.reason
    assert words in claims.reason and len(model.requests) == 2 and tokens(claims)[0] == 2400


def test_turns_past_their_limit_end_it_while_it_runs(world: GatewayWorld) -> None:
    """Its program tells none before its end, so what the gateway counted ends it long before that."""
    asks = [("ask", MODEL)] * 3
    claims = world.run(limited(acts(world, *asks, ("wait", "60")), turns=2))
    assert (claims.outcome, claims.failure) == (Outcome.BUDGET_EXCEEDED, FailureKind.TURN_LIMIT)
    assert claims.reason == "the model was called for turn 3, the limit is 2"
    assert tokens(claims)[0] == 3600, "what was used is booked"


@pytest.mark.parametrize(
    ("limits", "failure"),
    [
        ({"tokens": 2000}, FailureKind.TOKEN_LIMIT),
        ({"usd": Decimal("0.003")}, FailureKind.USD_LIMIT),
        ({"requests": 2}, FailureKind.REQUEST_LIMIT),
    ],
)
@pytest.mark.parametrize("goes_on", [False, True])
def test_a_last_turn_is_given_told_and_the_end_of_the_run(
    world: GatewayWorld, model: FakeModel, limits: dict[str, Any], failure: FailureKind, goes_on: bool
) -> None:
    asks = [("ask", MODEL)] * (5 if goes_on else 3)
    claims = world.run(limited(acts(world, *asks, ("wait", "1")), wrap_up=True, **limits))
    assert (claims.outcome, claims.failure) == (Outcome.BUDGET_EXCEEDED, failure), claims.reason
    assert claims.reason.endswith("one last, short call was let through to wrap up")
    assert claims.calls is not None and (claims.calls.requests, claims.calls.wrap_up) == (3, 1)
    assert len(model.requests) == 3 and claims.reason in claims.findings
    if not goes_on:
        assert claims.answer == "the last message: done" and claims.calls.refused == 0
        assert any(claims.reason.encode() in one for one in said(world)), "told while it ran"


def test_where_the_gateway_has_no_price_the_program_s_own_figures_hold_the_limit(world: GatewayWorld) -> None:
    world.home.prices.write_text("{}")
    paid = json.dumps(
        {"type": "result", "subtype": "success", "result": "x", "total_cost_usd": 5, "usage": {}}
    )
    acted = acts(world, ("ask", MODEL), ("print", paid + "\n"), ("wait", "60"))
    claims = world.run(limited(acted, usd=Decimal(1), wrap_up=True))
    assert (claims.outcome, claims.failure) == (Outcome.BUDGET_EXCEEDED, FailureKind.USD_LIMIT), claims.reason
    assert claims.reason.endswith("the limit is $1")


def test_who_needs_no_more_than_its_limit_is_done(world: GatewayWorld) -> None:
    claims = world.run(limited(acts(world, ("ask", MODEL), ("ask", MODEL)), requests=2, wrap_up=True))
    assert (claims.outcome, claims.findings) == (Outcome.DONE, ())


def test_a_limit_of_calls_that_nobody_would_hold_is_refused_and_a_last_turn_told(world: GatewayWorld) -> None:
    named = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")
    claims = world.run(limited(acts(world, ("ask", MODEL), secrets=named), requests=9))
    assert claims.failure is FailureKind.MODEL_AUTH and "leave --max-requests out" in claims.reason


def test_a_last_turn_that_cannot_be_given_is_told(world: GatewayWorld) -> None:
    named = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")
    claims = world.run(limited(acts(world, ("ask", MODEL), secrets=named), wrap_up=True))
    assert claims.outcome is Outcome.DONE
    assert "no last turn to wrap up" in claims.findings[0]


def test_a_gateway_that_dies_ends_its_run_as_ours(world: GatewayWorld, model: FakeModel) -> None:
    job = acts(world, ("ask", MODEL), ("wait", "120"))
    world.coordinator.push(job)
    until(lambda: model.requests != [] and world.counted() > 0)
    os.kill(world.gateway(), signal.SIGKILL)
    claims = world.ended(job.identity)
    assert (claims.outcome, claims.failure) == (Outcome.INFRA, FailureKind.NODE_INTERNAL)
    assert "model gateway of this run has died" in claims.reason
    assert tokens(claims) == (1200, 500, 34), "what it had counted counts"
    assert places.find_gateway(world.attempt) is None


def test_a_node_agent_that_comes_back_finds_it_at_work(world: GatewayWorld, model: FakeModel) -> None:
    job = acts(world, ("ask", MODEL), ("wait", "3"), ("ask", MODEL))
    world.coordinator.push(job)
    assert model.wait_for(1, 20)
    pid = world.gateway()
    world.leave()
    assert world.gateway() == pid
    world.start()
    claims = world.ended(job.identity)
    assert claims.outcome is Outcome.DONE and tokens(claims) == (2400, 1000, 68)


def test_a_key_that_the_job_names_goes_to_the_run_and_past_the_gateway(world: GatewayWorld) -> None:
    named = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")
    claims = world.run(acts(world, ("ask", MODEL), secrets=named))
    assert claims.outcome is Outcome.DONE and claims.claimed is None and claims.calls is None
    assert claims.usage.cost_source == "reported"


def test_no_value_of_a_secret_leaves_the_node(world: GatewayWorld) -> None:
    secret = "a-secret-of-the-owner"
    words = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": world.model.url}
    world.owner_writes(**words, LAST_WORDS=secret, NEVER_NAMED="another-secret")
    half, rest = f"half {secret[:9]}", f"{secret[9:]} rest\n"
    doing = [("print", half), ("wait", "0.5"), ("print", rest), ("print", f"{KEY}\nanother-secret\n")]
    job = acts(world, *doing, ("ask", MODEL), secrets=("LAST_WORDS",))
    claims = world.run(job)
    log = world.log(job.identity)
    assert b"half [secret LAST_WORDS] rest\n[secret ANTHROPIC_API_KEY]\n[secret NEVER_NAMED]\n" in log
    assert claims.answer == "the last message: [secret LAST_WORDS]"
    sent = b"".join([claims.model_dump_json().encode(), log, *said(world)])
    for value in (secret, KEY, "another-secret"):
        assert value.encode() not in sent
    assert next(blob for blob in claims.blobs if blob.name == "out").size == len(log)
    # The output stays on the node, for a coordinator that is restored from an older copy: for its user alone.
    assert stat.S_IMODE((world.attempt / "out").stat().st_mode) & 0o077 == 0


def said(world: GatewayWorld) -> list[bytes]:
    return [event.model_dump_json().encode() for event in world.coordinator.events.values()]


def test_a_secret_whose_source_gives_nothing_names_itself_and_the_node(world: GatewayWorld) -> None:
    world.owner_writes(DB={"file": "/no/such/file"}, ANTHROPIC_API_KEY=KEY)
    claims = world.run(acts(world, secrets=("DB", "GONE")))
    assert claims.failure is FailureKind.MODEL_AUTH
    assert claims.reason == (
        "secrets missing on n1: DB (/no/such/file cannot be read: No such file or directory), GONE"
    )


def test_waiting_for_a_model_is_not_idleness(tmp_path: Path) -> None:
    """The answer begins after three idle limits; then the program is silent by itself."""
    slow = {"latency": 7.5, "text": "Hello.", "usage": {"input": 1200, "output": 34}}
    with FakeModel({"turns": [slow], "api_key": KEY}) as model:
        world = GatewayWorld(tmp_path, model, "claude", fake_claude(tmp_path))
        world.begin()
        try:
            claims = world.run(limited(acts(world, ("ask", MODEL), ("wait", "600")), idle_ms=2_500), 60)
        finally:
            world.end()
    assert (claims.outcome, claims.failure) == (Outcome.STALLED, FailureKind.IDLE_LIMIT)
    assert claims.usage.agent_ms > 9_000, "it was ended for its silence behind the answer"
    assert claims.calls is not None and (claims.calls.requests, claims.calls.unread) == (1, 0)
