"""Limits that nobody passes by hanging up, or by asking much at once."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest

from node_agent.gateway.counting import PATIENT, Caps
from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.gateways import RUNTIMES, Lab, order_of, until
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
        agent = lab.open(order_of(RUNTIMES[wire], tokens=tokens, usd=usd))
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
        assert (count.usage.cost_usd, count.usage.cost_source) == (None, "unknown"), "no claim is made of it"


def test_an_agent_that_hangs_up_is_no_failing_server(lab: Lab) -> None:
    with FakeModel(preset("slow")) as model:
        lab.point("opencode", model.url)
        agent = lab.open(order_of("opencode"))
        until(lambda: (agent.folder / "gateway" / "count").exists())
        path, body = request("chat", True)
        for _ in range(PATIENT + 2):
            agent.hang_up(path, body)
        calls = agent.counted().calls
        assert (calls.requests, calls.failed, calls.unread) == (PATIENT + 2, 0, PATIENT + 2)


@pytest.mark.parametrize("limit", ["tokens", "usd"])
def test_forty_calls_at_once_pass_a_limit_by_one_at_most(lab: Lab, limit: str) -> None:
    with FakeModel(preset("text")) as model:
        lab.point("opencode", model.url)
        lab.prices |= USD
        tokens, usd = (2000, None) if limit == "tokens" else (None, "0.003")
        agent = lab.open(order_of("opencode", tokens=tokens, usd=usd))
        path, body = request("chat", True)
        told: list[int] = []
        many = [threading.Thread(target=lambda: told.append(agent.post(path, body)[0])) for _ in range(40)]
        for asking in many:
            asking.start()
        for asking in many:
            asking.join(60)
        assert sorted(told) == [200] * 2 + [403] * 38
        assert len(model.requests) == 2 and agent.counted().limit == limit
