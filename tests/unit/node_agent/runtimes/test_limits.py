"""When the limit of a login ends: what programs tell of it becomes a pause, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from node_agent.runtimes.logins import LONGEST_MS, LimitReset, clock_in, delay_in, pause_ms

NOW = datetime(2026, 11, 26, 22, 30, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
MINUTE = 60_000
TODAY = "You’ve hit your usage limit. Visit https://example.test for more credits or try again at 11:05 PM."
LATER = "You’ve hit your usage limit. Upgrade to Pro or try again at Nov 29th, 2026 1:05 AM."


def utc(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


@pytest.mark.parametrize(
    ("words", "minutes"),
    [
        (TODAY, 35),
        (TODAY.replace("11:05 PM", "12:05 AM"), 95),
        (TODAY.replace("11:05 PM", "10:30 PM"), 24 * 60),
        (LATER, 2 * 24 * 60 + 155),
    ],
)
def test_a_time_of_the_nodes_clock_is_the_next_such_time(words: str, minutes: int) -> None:
    assert pause_ms(clock_in(words), NOW_MS, utc) == minutes * MINUTE


@pytest.mark.parametrize(
    ("words", "minutes"),
    [
        ("429 Rate limit reached, please try again in 1h30m0s.", 90),
        ("[API Error: Out of quota.\nSuggested retry after 5400s.]", 90),
        ("You have exhausted your capacity. Your quota will reset after 2h5m3s.", 125.05),
        ("Please retry in 61.5s.", 61.5 / 60),
        ("Please retry in 59.9s, or try again in a moment", 0),
        ("it resets in 9d", 0),
        ("try again in 999999999d999999999d", 0),
        ("retry after", 0),
    ],
)
def test_a_time_to_wait_in_words_is_a_pause_unless_it_is_short_or_too_long(
    words: str, minutes: float
) -> None:
    assert pause_ms(delay_in(words), NOW_MS, utc) == round(minutes * MINUTE)


@pytest.mark.parametrize(
    "words", ["hit your usage limit", LATER.replace("29th", "31st"), LATER.replace("2026", "2025")]
)
def test_words_without_a_moment_that_can_come_are_no_pause(words: str) -> None:
    assert pause_ms(clock_in(words), NOW_MS, utc) == 0


def test_a_moment_counts_if_it_comes_within_the_longest_window() -> None:
    assert pause_ms(None, NOW_MS) == 0
    assert pause_ms(LimitReset(NOW_MS + MINUTE), NOW_MS) == MINUTE
    assert pause_ms(LimitReset(NOW_MS - 1), NOW_MS) == 0
    assert pause_ms(LimitReset(NOW_MS + LONGEST_MS + 1), NOW_MS) == 0
