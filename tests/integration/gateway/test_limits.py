"""Limits that nobody passes by hanging up, or by asking much at once."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from node_agent.gateway import spec as places
from node_agent.gateway.counting import PATIENT, Caps
from node_agent.gateway.requests import LAST_OUTPUT, LAST_WORDS
from node_agent.wire.control import BudgetAnswers
from tests.crowd import crowded
from tests.fakemodel import FakeModel, preset
from tests.fakemodel.state import Log
from tests.integration.gateway.gateways import RUNTIMES, Agent, Lab, job_of, until
from tests.integration.test_fakemodel import request

USD = {"m": "1 0.1 2 10"}


@pytest.mark.parametrize("limit", ["tokens", "usd"])
@pytest.mark.parametrize("wire", ["anthropic", "chat"])
def test_who_hangs_up_before_the_tokens_are_told_is_held_all_the_same(
    lab: Lab, wire: str, limit: str
) -> None:
    with FakeModel(preset("slow")) as model:
        lab.point(RUNTIMES[wire], model.url)
        lab.prices |= USD
        tokens, usd = (1000, None) if limit == "tokens" else (None, "0.001")
        agent = lab.open(job_of(RUNTIMES[wire], tokens=tokens, usd=usd))
        until(lambda: (agent.folder / "gateway" / "count").exists())
        path, body = request(wire, True)
        body["padding"] = "x" * 1600  # 400 tokens and more: three calls at most
        asked = 0
        cap = Caps(tokens, None if usd is None else Decimal(usd))
        while asked < 4 and cap.reached(agent.so_far) == ("", ""):
            agent.hang_up(path, body)
            asked += 1
        status, said = agent.post(path, body)
        assert status == 403 and b"assumed" in said
        count = agent.counted()
        assert (count.limit, count.calls.unread) == (limit, asked)
        assert count.usage.cost_source == "assumed" and count.usage.cost_usd, "what the limit went by"


def test_a_tier_of_unknown_price_counts_as_the_dearest_and_the_receipt_says_so(lab: Lab) -> None:
    with FakeModel(preset("text")) as model:
        lab.point(RUNTIMES["chat"], model.url)
        lab.prices |= USD
        path, body = request("chat", True)
        counts = []
        for name, more in (("a", {}), ("b", {"service_tier": "priority"})):
            agent = lab.open(job_of(RUNTIMES["chat"]), name)
            assert agent.post(path, body | more)[0] == 200
            counts.append(agent.counted())
    least, count = counts[0].usage.cost_usd, counts[1]
    assert least and (count.usage.cost_usd, count.usage.cost_source) == (least * Decimal("2.5"), "assumed")
    (said,) = (text for text in count.findings(count.usage) if "at least" in text)
    assert f"the price of service_tier priority is unknown: the cost is at least ${least:.4f}" in said


def test_an_agent_that_hangs_up_is_no_failing_server(lab: Lab) -> None:
    with FakeModel(preset("slow")) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode"))
        until(lambda: (agent.folder / "gateway" / "count").exists())
        path, body = request("chat", True)
        for _ in range(PATIENT + 2):
            agent.hang_up(path, body)
        calls = agent.counted().calls
        assert (calls.requests, calls.failed, calls.unread) == (PATIENT + 2, 0, PATIENT + 2)


def test_failures_in_a_row_are_counted_as_tries_and_forgotten_with_an_answer(lab: Lab) -> None:
    with FakeModel(
        {"turns": [{"text": "x", "fault": {"status": 503, "times": 4}}], "no_tools": "turns"}
    ) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode"))
        path, body = request("chat", True)
        for tries in range(1, 5):
            assert agent.post(path, body)[0] == 503
            count = lab.gateways.count(agent.folder)
            assert count is not None
            assert (count.failing, count.status, count.trouble) == (tries, 503, "HTTP 503")
        assert agent.post(path, body)[0] == 200
        until(lambda: (count := lab.gateways.count(agent.folder)) is not None and count.failing == 0)
        assert agent.counted().calls.failed == 4


@pytest.mark.parametrize("wire", ["anthropic", "chat", "responses", "gemini"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_in_which_nothing_can_be_read_is_a_failure(lab: Lab, wire: str, stream: bool) -> None:
    with FakeModel(preset("bad-json")) as model:
        lab.point(RUNTIMES[wire], model.url)
        agent = lab.open(job_of(RUNTIMES[wire]))
        assert agent.post(*request(wire, stream))[0] in (0, 200)
        count = agent.counted()
        assert (count.failing, count.calls.failed) == (1, 1) and "cannot be read" in count.trouble


def test_forty_failures_at_once_are_few_tries(lab: Lab) -> None:
    with FakeModel(preset("500")) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode"))
        forty(agent, *request("chat", True))
        count = agent.counted()
        assert count.calls.failed >= 3 and 1 <= count.failing < 10


def test_a_server_that_is_not_there_is_named(lab: Lab) -> None:
    lab.point("opencode", "http://127.0.0.1:9")
    agent = lab.open(job_of("opencode"))
    assert agent.post(*request("chat", True))[0] == 502
    count = agent.counted()
    assert (count.failing, count.status) == (1, 0) and "127.0.0.1:9 cannot be reached" in count.trouble


def kept(lab: Lab) -> Log:
    """So that the model server keeps the bodies of requests."""
    return Log(dump_dir=str(lab.root / "bodies"))


def bodies(lab: Lab) -> list[dict[str, Any]]:
    """In the order in which they came."""
    return [json.loads(one.read_bytes()) for one in sorted((lab.root / "bodies").iterdir())]


def forty(agent: Agent, path: str, body: dict) -> list[int]:
    """Forty calls at once: what became of each, sorted."""
    told: list[int] = []
    many = [threading.Thread(target=lambda: told.append(agent.post(path, body)[0])) for _ in range(40)]
    for asking in many:
        asking.start()
    for asking in many:
        asking.join(60 * crowded())
    return sorted(told)


@pytest.mark.parametrize("limit", ["tokens", "usd"])
def test_forty_calls_at_once_pass_a_limit_by_one_at_most(lab: Lab, limit: str) -> None:
    with FakeModel(preset("text")) as model:
        lab.point("opencode", model.url)
        lab.prices |= USD
        tokens, usd = (2000, None) if limit == "tokens" else (None, "0.003")
        agent = lab.open(job_of("opencode", tokens=tokens, usd=usd))
        path, body = request("chat", True)
        assert forty(agent, path, body) == [200] * 2 + [403] * 38
        assert len(model.requests) == 2 and agent.counted().limit == limit


def test_forty_calls_at_once_are_no_more_than_the_limit_of_calls(lab: Lab) -> None:
    with FakeModel(preset("text")) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode", requests=3))
        path, body = request("chat", True)
        assert forty(agent, path, body) == [200] * 3 + [403] * 37
        status, said = agent.post(path, body)
        assert status == 403 and b"3 model calls were made, which is the limit of this run" in said
        count = agent.counted()
        assert (count.limit, count.calls.requests, len(model.requests)) == ("requests", 3, 3)
        assert (count.calls.wrap_up, count.wrapped) == (0, "")


@pytest.mark.parametrize(("limit", "within"), [("requests", 2), ("tokens", 2), ("usd", 2)])
def test_of_forty_calls_at_a_limit_one_wraps_up(lab: Lab, limit: str, within: int) -> None:
    given: dict[str, Any] = {"requests": {"requests": 2}, "tokens": {"tokens": 2000}}.get(limit, {})
    with FakeModel(preset("text"), log=kept(lab)) as model:
        lab.point("opencode", model.url)
        lab.prices |= USD
        usd = "0.003" if limit == "usd" else None
        agent = lab.open(job_of("opencode", usd=usd, wrap_up=True, **given))
        path, body = request("chat", True)
        assert forty(agent, path, body) == [200] * (within + 1) + [403] * (39 - within)
        assert agent.post(path, body)[0] == 403, "and it stays the last"
        last = [one for one in bodies(lab) if LAST_WORDS in json.dumps(one)]
        assert len(model.requests) == within + 1 and len(last) == 1
        assert last[0]["max_tokens"] == LAST_OUTPUT and last[0]["tool_choice"] == "none"
        count = agent.counted()
        assert (count.limit, count.calls.requests, count.calls.wrap_up) == (limit, within + 1, 1)
        assert "one last, short call was let through" in count.findings(count.usage)[0]


@pytest.mark.parametrize("wire", sorted(RUNTIMES))
def test_the_last_turn_on_each_wire(lab: Lab, wire: str) -> None:
    with FakeModel(preset("text"), log=kept(lab)) as model:
        lab.point(RUNTIMES[wire], model.url)
        agent = lab.open(job_of(RUNTIMES[wire], requests=1, wrap_up=True))
        path, body = request(wire, True)
        assert [agent.post(path, body)[0] for _ in range(4)] == [200, 200, 403, 403]
        assert [LAST_WORDS in json.dumps(one) for one in bodies(lab)] == [False, True]
        count = agent.counted()
        assert (count.calls.requests, count.calls.refused, count.calls.unread) == (2, 2, 0)


def test_a_last_turn_that_fails_was_the_last_all_the_same(lab: Lab) -> None:
    with FakeModel(preset("500")) as model:
        lab.point("opencode", model.url)
        agent = lab.open(job_of("opencode", requests=1, wrap_up=True))
        path, body = request("chat", True)
        assert [agent.post(path, body)[0] for _ in range(3)] == [500, 500, 403]
        assert len(model.requests) == 2


def has_asked(agent: Agent, number: int) -> bool:
    count = places.read_count(agent.folder)
    return count is not None and count.asked == number


def test_a_call_beyond_the_reservation_waits_for_the_coordinator_which_may_refuse_it(lab: Lab) -> None:
    with FakeModel(preset("text")) as model:
        lab.point(RUNTIMES["chat"], model.url)
        lab.prices |= USD
        job = job_of(RUNTIMES["chat"], reserved_usd=Decimal(0), wrap_up=True)
        agent = lab.open(job)
        path, body = request("chat", True)
        answers: list[tuple[int, bytes]] = []
        for number, words in ((1, "the day is full"), (2, "")):
            asking = threading.Thread(target=lambda: answers.append(agent.post(path, body)))
            asking.start()
            until(partial(has_asked, agent, number))
            count = lab.gateways.count(agent.folder)
            assert count is not None and count.asked_usd > 0 == len(model.requests)
            assert count.waiting == 1, "the idle limit rests"
            usd = Decimal(0) if words else count.asked_usd
            answer = BudgetAnswers(identity=job.identity, number=number, usd=usd, words=words)
            lab.gateways.answer(agent.folder, answer)
            asking.join()
        (refused, said), (granted, _) = answers
        assert (refused, granted, len(model.requests)) == (403, 200, 1)
        assert b"the day is full" in said and agent.counted().limit == "ceiling"
