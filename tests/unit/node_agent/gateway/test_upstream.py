"""What the answer of a provider says of its rate limit."""

from __future__ import annotations

import pytest

from node_agent.gateway.http import Head
from node_agent.gateway.upstream import rate_left

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
    assert rate_left(status, Head(f"HTTP/1.1 {status} X", list(headers.items()))) == left
