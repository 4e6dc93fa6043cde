"""The chain of the audit: whatever is changed, taken out or put in shows, at the first entry after it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pancode.kernel.records import Audit
from pancode.kernel.values import replace
from pancode.runs.unit_of_work import digest_of, is_anchored, judge_audit

CHANGES: tuple[dict[str, Any], ...] = (
    {"what": "x"},
    {"at_ms": 0},
    {"level": "error"},
    {"detail": {}},
    {"run": "r-1"},
)


def chained(count: int) -> list[Audit]:
    made: list[Audit] = []
    for number in range(1, count + 1):
        previous = digest_of(made[-1]) if made else ""
        made.append(Audit(number, number, "fleet", "info", f"entry {number}", {"n": number}, None, previous))
    return made


@given(st.integers(0, 20))
def test_what_was_written_in_order_fits(count: int) -> None:
    verdict = judge_audit(chained(count))
    assert (verdict.entries, verdict.misfit) == (count, None)


@given(st.data(), st.integers(2, 12), st.sampled_from(CHANGES))
def test_a_change_and_a_gap_show_at_the_next_entry(data: Any, count: int, change: dict[str, Any]) -> None:
    entries = chained(count)
    place = data.draw(st.integers(0, count - 2))
    changed = [*entries]
    changed[place] = replace(changed[place], **change)
    assert judge_audit(changed).misfit == place + 2
    assert judge_audit(entries[:place] + entries[place + 1 :]).misfit == place + 2


def test_the_newest_is_known_by_the_head_that_somebody_noted() -> None:
    entries = chained(5)
    assert judge_audit(entries).head == digest_of(entries[-1]) != judge_audit(entries[:4]).head


@pytest.mark.parametrize("detail", [{"a": 1, "b": [1, 2]}, {"b": (1, 2), "a": 1}])
def test_the_digest_is_of_the_values_whatever_their_order(detail: dict[str, object]) -> None:
    same = Audit(1, 1, "d", "l", "w", {"a": 1, "b": [1, 2]})
    assert digest_of(Audit(1, 1, "d", "l", "w", detail)) == digest_of(same)


@given(st.data(), st.integers(2, 60))
def test_a_chain_that_was_written_anew_does_not_fit_what_was_signed(data: Any, count: int) -> None:
    entries = chained(count)
    anchors = {entry.number: digest_of(entry) for entry in entries if is_anchored(entry.number)}
    assert judge_audit(entries, anchors).anchored == max(anchors)
    place = data.draw(st.integers(0, max(anchors) - 1))
    forged = [*entries[:place], replace(entries[place], what="something else")]
    for entry in entries[place + 1 :]:
        forged.append(replace(entry, previous=digest_of(forged[-1])))
    assert judge_audit(forged).misfit is None, "it fits itself"
    found = judge_audit(forged, anchors)
    assert found.misfit == min(number for number in anchors if number > place)
    cut = judge_audit(entries[: max(anchors) - 1], anchors)
    assert cut.misfit == max(anchors) and "is missing" in cut.why
    assert judge_audit(entries, {**anchors, 1: None}).misfit == 1, "a signature that is none"
