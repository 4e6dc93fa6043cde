"""What the answer of a provider says of its rate limit."""

from __future__ import annotations

import asyncio

import pytest

from node_agent.gateway.http import Head
from node_agent.gateway.upstream import NO_PROXY, DialError, Proxy, dial, rate_left, whole_in

ANTHROPIC = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "40",
    "anthropic-ratelimit-input-tokens-limit": "30000",
    "anthropic-ratelimit-input-tokens-remaining": "1500",
}
OPENAI = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "60"}


@pytest.mark.parametrize(
    ("status", "headers", "left"),
    [
        (200, ANTHROPIC, 5),
        (200, OPENAI, 100),
        (500, {**OPENAI, "x-ratelimit-remaining-requests": "0"}, 0),
        (429, ANTHROPIC, 0),
        (429, {}, 0),
        (200, {}, None),
        (200, {"x-ratelimit-remaining-requests": "7"}, None),
        (200, {**OPENAI, "x-ratelimit-limit-requests": "0"}, None),
        (200, {**OPENAI, "x-ratelimit-remaining-requests": "99"}, 100),
        (200, {**OPENAI, "x-ratelimit-remaining-requests": "-1"}, None),
        (200, {**OPENAI, "x-ratelimit-limit-requests": "9" * 5_000}, None),
    ],
)
def test_the_limit_that_is_nearest_to_its_end_counts(
    status: int, headers: dict[str, str], left: int | None
) -> None:
    assert told(status, headers)[0] == left


def told(status: int, headers: dict[str, str]) -> tuple[int | None, int]:
    return rate_left(status, Head(f"HTTP/1.1 {status} X", list(headers.items())))


DATE = "Thu, 26 Nov 2026 16:00:00 GMT"


@pytest.mark.parametrize(
    ("reset", "counts"),
    [
        ("6m0s", (5, 60)),
        ("1h", (5, 60)),
        ("24h0m0s", (5, 60)),
        ("42.5s", (5, 42)),
        ("5s", (None, 0)),
        ("120ms", (None, 0)),
        ("1.5\xc2\xb5s", (None, 0)),
        ("0s", (None, 0)),
        ("2026-11-26T16:00:30Z", (5, 30)),
        ("2026-11-26T17:30:00+01:00", (5, 60)),
        ("2026-11-26T16:00:01Z", (None, 0)),
        ("2026-11-26T15:00:00Z", (None, 0)),
        ("2026-11-26T16:00:30", (5, 60)),
        ("soon", (5, 60)),
        ("", (5, 60)),
    ],
)
@pytest.mark.parametrize("name", ["x-ratelimit-{1}-{0}", "anthropic-ratelimit-{0}-{1}"])
def test_what_is_left_counts_until_it_is_whole_again_and_for_a_minute_at_most(
    name: str, reset: str, counts: tuple[int | None, int]
) -> None:
    of = {"limit": "100", "remaining": "5", "reset": reset}
    headers = {name.format("requests", what): value for what, value in of.items()}
    assert told(200, {**headers, "date": DATE}) == counts


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("1h2m3.9s", 3723), ("999ms", 0), ("2026-11-27T16:00:00.5+00:00", 86_400), ("-5s", None), ("60", None)],
)
def test_a_duration_or_an_instant_in_seconds(reset: str, seconds: int | None) -> None:
    assert whole_in(reset, DATE) == seconds


def test_without_the_servers_own_time_an_instant_is_not_known() -> None:
    headers = {**ANTHROPIC, "anthropic-ratelimit-input-tokens-reset": "2026-11-26T16:00:01Z"}
    assert told(200, headers) == told(200, {**headers, "date": "today"}) == (5, 60)


@pytest.mark.parametrize(
    ("reset", "counts"), [("2026-11-26T16:00:57Z", (80, 60)), ("2026-11-26T18:00:00Z", (5, 60))]
)
def test_tokens_of_a_minute_are_no_shortage_and_those_of_a_day_are(
    reset: str, counts: tuple[int, int]
) -> None:
    """A limit of 30,000 tokens a minute, and a prompt of 28,500: no call is refused."""
    headers = {**ANTHROPIC, "anthropic-ratelimit-input-tokens-reset": reset, "date": DATE}
    assert told(200, headers) == counts


@pytest.mark.parametrize(
    ("asked", "seconds"), [("20", 20), ("299", 299), ("86400", 300), ("", 60), (DATE, 60), ("0", 60)]
)
def test_a_refusal_counts_as_long_as_it_asks_to_wait_and_five_minutes_at_most(
    asked: str, seconds: int
) -> None:
    assert told(429, {**OPENAI, "retry-after": asked}) == (0, seconds)


@pytest.mark.parametrize(
    ("host", "through"),
    [
        *((host, False) for host in ("localhost", "LocalHost.", "127.0.0.9", "::1", "::ffff:127.0.0.1")),
        *((host, False) for host in ("10.1.2.3", "::ffff:10.1.2.3", "x.corp.example", "X.Corp.example.")),
        *((host, True) for host in ("11.1.2.3", "::ffff:11.1.2.3", "2001:db8::1", "corp.example.com")),
        *((host, True) for host in ("evilcorp.example", "127.0.0.1.example", "localhost.example")),
    ],
)
def test_in_each_spelling_a_host_of_this_node_or_of_the_owner_is_called_without_the_proxy(
    host: str, through: bool
) -> None:
    proxy = Proxy("http://proxy.example:3128", direct=(".corp.example", "10.0.0.0/8"))
    assert proxy.is_for(host) is through


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example"])
def test_a_name_that_no_host_can_have_is_a_server_that_cannot_be_reached(host: str) -> None:
    with pytest.raises(DialError, match="cannot be reached"):
        asyncio.run(dial(host, 80, NO_PROXY, None))
