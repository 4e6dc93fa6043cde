"""What a call may use, and which calls may be under way together."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from node_agent.gateway.counting import (
    ASSUMED_OUTPUT,
    Allowance,
    Caps,
    Count,
    Expected,
    Grant,
    LimitReached,
    NotAnswered,
    UsageBound,
    count_usage,
    estimate_most,
)
from node_agent.gateway.meter import MeterReading, TokenCount, Wire
from node_agent.gateway.prices import price_of


@pytest.mark.parametrize(
    ("wire", "asked", "output"),
    [
        (Wire.ANTHROPIC, {"max_tokens": 100}, 100),
        (Wire.CHAT, {"max_tokens": 100, "max_completion_tokens": 200}, 200),
        (Wire.CHAT, {"max_tokens": 100, "n": 5}, 500),
        (Wire.CHAT, {"max_output_tokens": 1}, ASSUMED_OUTPUT),
        (Wire.RESPONSES, {"max_output_tokens": 100}, 100),
        (Wire.GEMINI, {"generationConfig": {"maxOutputTokens": 100, "candidateCount": 2}}, 200),
        (Wire.GEMINI, {"generation_config": {"max_output_tokens": 100}}, 100),
        (Wire.GEMINI, {"generationConfig": [1], "maxOutputTokens": 1}, ASSUMED_OUTPUT),
        (Wire.OLLAMA, {"options": {"num_predict": -1}}, ASSUMED_OUTPUT),
        (Wire.OLLAMA, {"options": {"num_predict": 100}}, 100),
        (Wire.ANTHROPIC, {"max_tokens": "100"}, ASSUMED_OUTPUT),
    ],
)
def test_what_a_request_may_use(wire: Wire, asked: dict[str, Any], output: int) -> None:
    assert estimate_most(wire, 4_000, asked) == TokenCount(input=1_000, output=output)


def test_what_an_answer_has_used_that_did_not_tell_it() -> None:
    expected = TokenCount(input=1_000, output=500)
    whole = MeterReading(TokenCount(5, 6, 7, 8), True)
    assert count_usage(whole, expected, 10_000) == whole.tokens, "what is told goes before what is assumed"
    assert count_usage(MeterReading(), expected, 0) == expected
    assert count_usage(MeterReading(), expected, 4_000) == TokenCount(1_000, output=1_000)
    begun = MeterReading(TokenCount(5, 6, 7, 1))
    assert count_usage(begun, expected, 400) == TokenCount(5, 6, 7, 100), "an input that was told stands"
    assert count_usage(MeterReading(TokenCount(5, output=300)), expected, 400).output == 300


class Calls:
    """Forty at once, each of which uses what it was expected to; `most` were under way together."""

    def __init__(self, caps: Caps, expected: Expected, ceiling: str = "0") -> None:
        self.count, self.expected, self.ceiling = Count(), expected, Decimal(ceiling)
        self.done = self.refused = self.under_way = self.most = 0
        self.asked: list[Decimal] = []
        self.allowance = Allowance(caps, lambda: self.count, self.answer)

    async def answer(self, usd: Decimal) -> Grant:
        """The coordinator, which reserves up to its ceiling."""
        self.asked.append(usd)
        await asyncio.sleep(0)
        return Grant(len(self.asked), min(usd, self.ceiling), "" if usd <= self.ceiling else "the ceiling")

    async def one(self) -> None:
        try:
            async with self.allowance.call(self.expected):
                self.under_way += 1
                self.most = max(self.most, self.under_way)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                self.under_way -= 1
                self.count = replace(self.count, bound=self.count.bound + self.expected.bound)
                self.done += 1
        except LimitReached:
            self.refused += 1

    async def forty(self) -> None:
        await asyncio.gather(*(self.one() for _ in range(40)))


EACH = Expected(TokenCount(600_000, output=400_000), price_of("1 1 1 1"))


@pytest.mark.parametrize(
    ("caps", "done", "most"),
    [
        (Caps(usd=Decimal("0.01")), 1, 1),
        (Caps(tokens=1), 1, 1),
        (Caps(usd=Decimal(3)), 3, 3),
        (Caps(usd=Decimal("3.5")), 4, 3),
        (Caps(tokens=1_500_000), 2, 1),
        (Caps(), 40, 40),
    ],
)
def test_calls_at_once_pass_a_limit_by_one_call_at_most(caps: Caps, done: int, most: int) -> None:
    calls = Calls(caps, EACH)
    asyncio.run(calls.forty())
    assert (calls.done, calls.refused, calls.most) == (done, 40 - done, most)


def test_who_is_called_off_while_it_waits_takes_no_room() -> None:
    async def go() -> None:
        calls = Calls(Caps(tokens=10), replace(EACH, tokens=TokenCount(9)))
        async with calls.allowance.call(calls.expected):
            waiting = asyncio.create_task(calls.one())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await calls.one()
        assert (calls.done, calls.count.bound.tokens) == (1, 9)

    asyncio.run(go())


def test_without_a_price_only_tokens_are_held() -> None:
    assert Expected(TokenCount(3, output=4), None).bound == UsageBound(7, Decimal(0))


@pytest.mark.parametrize(
    ("reserved", "ceiling", "cap", "done"),
    [
        ("2", "0", None, 2),
        ("0", "5", None, 5),
        ("1.5", "3.5", None, 4),
        ("0", "9", "3", 3),
        ("40", "0", None, 40),
    ],
)
def test_calls_at_once_stay_within_the_reservation_and_what_is_added_to_it(
    reserved: str, ceiling: str, cap: str | None, done: int
) -> None:
    calls = Calls(Caps(usd=Decimal(cap) if cap else None, reserved=Decimal(reserved)), EACH, ceiling)
    asyncio.run(calls.forty())
    assert (calls.done, calls.refused) == (done, 40 - done)
    most = max(Decimal(reserved), Decimal(ceiling))
    assert calls.count.bound.usd < most + EACH.bound.usd, "at most one call is above it"
    assert all(usd > Decimal(reserved) for usd in calls.asked)


def test_an_unanswered_request_refuses_nothing_for_good() -> None:
    async def go() -> None:
        answers = iter([False, True])

        async def answer(usd: Decimal) -> Grant:
            if next(answers):
                return Grant(2, usd)
            raise NotAnswered("the coordinator cannot be reached")

        allowance = Allowance(Caps(reserved=Decimal(0)), Count, answer)
        with pytest.raises(NotAnswered):
            async with allowance.call(EACH):
                raise AssertionError("it was not reserved")
        async with allowance.call(EACH):
            pass

    asyncio.run(go())
