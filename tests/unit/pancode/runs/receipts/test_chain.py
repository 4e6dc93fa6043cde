"""The chain of a node's receipts: gaps, forks, a second beginning and invented digests, each by its name."""

from __future__ import annotations

import pytest

from pancode.runs.receipts.verification import ChainLink, judge_chain, verdict_of

A, B, C = (
    ChainLink("a" * 64, "r-1.1.1", None),
    ChainLink("b" * 64, "r-2.1.1", "a" * 64),
    ChainLink("c" * 64, "r-3.1.1", "b" * 64),
)
AFTER_A = ChainLink("d" * 64, "r-4.1.1", "a" * 64)
BEGINS = ChainLink("e" * 64, "r-5.1.1", None)


@pytest.mark.parametrize(
    ("links", "unanswered", "bad"),
    [
        ((A, B, C), (), []),
        ((C, A, B), ("r-9.1.1",), []),
        ((A, C), ("r-2.1.1",), ["no gap"]),
        ((A, C), (), ["no invented digest"]),
        ((A, B, AFTER_A), (), ["no fork"]),
        ((A, B, BEGINS), (), ["begins once (key k)"]),
    ],
)
def test_each_way_to_break_it_has_its_name(
    links: tuple[ChainLink, ...], unanswered: tuple[str, ...], bad: list[str]
) -> None:
    judged = verdict_of(judge_chain("key k", links, unanswered))
    assert [c.what for c in judged.checks if not c.ok] == bad
    assert judged.verdict == ("BROKEN" if bad else "PASS")


def test_a_gap_names_the_attempts_that_may_be_missing() -> None:
    (gap,) = [c for c in judge_chain("k", (A, C), [f"r-{n}.1.1" for n in range(7)]) if not c.ok]
    assert gap.detail.startswith("r-3.1.1 names bbbbbbbbbbbb")
    assert gap.detail.endswith("r-0.1.1, r-1.1.1, r-2.1.1, r-3.1.1, r-4.1.1 and 2 more")


def test_nothing_signed_is_not_found() -> None:
    assert verdict_of([]).verdict == "NOT_FOUND"
