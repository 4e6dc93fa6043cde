"""Token prices: the node owner's own list first, then the vendors' public prices. Pure. A model that is not
listed has no price; its cost is unknown, never zero."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from node_agent.gateway.meter import TokenCount

# Of vendors that serve models of many makers, each with its own price for the same name, from their pages
# (console.groq.com/docs/models, mistral.ai/pricing/api, together.ai/pricing) as genai-prices 0.2.3 of
# November 2026 lists them; models that call tools. OpenRouter is not included: its price depends on the
# server to which it routes a call. US dollars for a million tokens: input, cache read, cache write, output.
_HOSTS: Mapping[str, str] = {
    "groq": """
llama-3.1-8b-instant                           0.05   0.05    0.05   0.08
llama-3.3-70b-versatile                        0.59   0.59    0.59   0.79
meta-llama/llama-4-maverick-17b-128e-instruct  0.2    0.2     0.2    0.6
meta-llama/llama-4-scout-17b-16e-instruct      0.11   0.11    0.11   0.34
moonshotai/kimi-k2-instruct                    1      0.5     1      3
openai/gpt-oss-120b                            0.15   0.075   0.15   0.6
openai/gpt-oss-20b                             0.075  0.0375  0.075  0.3
qwen/qwen3-32b                                 0.29   0.29    0.29   0.59
qwen/qwen3.8-27b                               0.8    0.8     0.8    4
""",
    "mistral": """
codestral-2508            0.3   0.03   0.3   0.9
codestral-latest          0.3   0.3    0.3   0.9
deepseek-v4-1-flash-1017  0.3   0.007  0.3   1.2
ministral-14b-2512        0.2   0.02   0.2   0.2
ministral-3b-2512         0.1   0.01   0.1   0.1
ministral-8b-2512         0.15  0.015  0.15  0.15
ministral-8b-latest       0.15  0.015  0.15  0.15
mistral-large-2512        0.5   0.05   0.5   1.5
mistral-large-4           0.7   0.07   0.7   2.1
mistral-medium-3.5        1.5   0.15   1.5   7.5
mistral-medium-latest     1.5   0.15   1.5   7.5
mistral-small-2603        0.15  0.015  0.15  0.6
mistral-small-latest      0.15  0.015  0.15  0.6
zai-glm-5-3               1.4   0.14   1.4   4.4
zai-glm-5-3-flash         0.15  0.03   0.15  0.5
""",
    "together": """
MiniMaxAI/MiniMax-M3                     0.3   0.06   0.3   1.2
MiniMaxAI/MiniMax-M3.1-Flash             0.15  0.015  0.15  0.6
Qwen/Qwen3.5-9B                          0.17  0.17   0.17  0.25
Qwen/Qwen3.6-Plus                        0.5   0.5    0.5   3
Qwen/Qwen3.7-Max                         2.5   0.5    2.5   7.5
Qwen/Qwen3.7-Plus                        0.32  0.32   0.32  1.28
Qwen/Qwen3.8-2.4T-A95B                   2     0.5    2     6
Qwen/Qwen3.8-Flash                       0.15  0.15   0.15  0.47
deepseek-ai/DeepSeek-V4-Pro-0813         1.32  0.13   1.32  3.96
deepseek-ai/DeepSeek-V4.1-Flash          0.3   0.006  0.3   1.2
meta-llama/Llama-3.3-70B-Instruct-Turbo  0.88  0.88   0.88  0.88
meta-models/Muse-Glimmer-30B             0.35  0.04   0.35  1.5
meta-models/Muse-Spark-Open-816B-A42B    1.25  0.15   1.25  4.25
moonshotai/Kimi-K3                       3     0.3    3     15
moonshotai/Kimi-K3.1-Pro                 2     0.2    2     10
nvidia/NVIDIA-Nemotron-3.5-Super-VL      0.15  0.02   0.15  0.5
openai/gpt-oss-120b                      0.15  0.15   0.15  0.6
thinkingmachines/Inkling                 1     0.17   1     4.05
zai-org/GLM-5.2                          1.4   0.26   1.4   4.4
zai-org/GLM-5.3                          1.4   0.26   1.4   4.4
zai-org/GLM-5.3-Flash                    0.15  0.03   0.15  0.5
""",
}


MILLION = Decimal(1_000_000)
HOUR = 2
"""The price of a token cached for an hour, as a multiple of an input token's (platform.claude.com)."""
_USUAL = (
    *("", "auto", "default", "standard", "on_demand", "traffic_type_unspecified", "global", "not_available"),
    *("standard_only", "flex", "batch", "on_demand_flex", "scale", "provisioned_throughput"),
)
"""Attributes with which no token costs more than the list price."""
_DEARER = {
    "priority": Decimal("2.5"),
    "on_demand_priority": Decimal(2),
    "fast": Decimal(6),
    "us": Decimal("1.1"),
}
"""The price factor of each attribute, the highest of its vendor's models, in November 2026: the priority
tiers of OpenAI and Google, the fast mode of Anthropic and its inference in one country."""
UNHEARD = max(_DEARER.values())
"""The price factor of an attribute that is not in this list."""
_DATED = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2}|latest)$")

# US dollars for a million tokens, as of November 2026: input, read from a cache, written into one, output.
# A second price of the same kind, with `>`, is for requests whose input is longer than that many tokens.
_PUBLIC = """
claude-opus-5-5     4     0.2    5      20
claude-opus-5       5     0.5    6.25   25
claude-opus-4-8     5     0.5    6.25   25
claude-opus-4-7     5     0.5    6.25   25
claude-opus-4-6     5     0.5    6.25   25
claude-opus-4-5     5     0.5    6.25   25
claude-opus-4-1     15    1.5    18.75  75
claude-sonnet-5-5   2     0.1    2.5    10
claude-sonnet-5     2     0.2    2.5    10
claude-sonnet-4-6   3     0.3    3.75   15
claude-sonnet-4-5   3     0.3    3.75   15     > 200000  6    0.6   7.5    22.5
claude-haiku-5-5    0.1   0.01   0.125  0.5    > 100000  0.5  0.05  0.625  2.5
claude-haiku-4-5    1     0.1    1.25   5
gpt-6.1-sol         2     0.1    2.5    10     > 272000  4    0.2   5      15
gpt-6.1-terra       1     0.05   1.25   5      > 272000  2    0.1   2.5    7.5
gpt-6-astra         10    1      12.5   50     > 272000  20   2     25     75
gpt-6-sol           2     0.2    2.5    10     > 272000  4    0.4   5      15
gpt-6-luna          0.1   0.01   0.125  0.5    > 272000  0.2  0.02  0.25   0.75
gpt-5.6-sol         4     0.4    5      20     > 272000  8    0.8   10     30
gpt-5.6-terra       2     0.2    2.5    12     > 272000  4    0.4   5      18
gpt-5.6-luna        0.2   0.02   0.25   1.2    > 272000  0.4  0.04  0.5    1.8
gpt-5.5             5     0.5    5      30     > 272000  10   1     10     45
gpt-5.4             2.5   0.25   2.5    15     > 272000  5    0.5   5      22.5
gpt-5.4-mini        0.75  0.075  0.75   4.5
gpt-5.4-nano        0.2   0.02   0.2    1.25
gpt-5.3             1.75  0.175  1.75   14
gpt-5.3-codex       1.75  0.175  1.75   14
gpt-5.2             1.75  0.175  1.75   14
gpt-5.1             1.25  0.125  1.25   10
gpt-5               1.25  0.125  1.25   10
gpt-5-mini          0.25  0.025  0.25   2
gpt-5-nano          0.05  0.005  0.05   0.4
gpt-4.1             2     0.5    2      8
gpt-4.1-mini        0.4   0.1    0.4    1.6
gpt-4o              2.5   1.25   2.5    10
gpt-4o-mini         0.15  0.075  0.15   0.6
o3                  2     0.5    2      8
o4-mini             1.1   0.275  1.1    4.4
gemini-3.8-flash        1.5   0.15   1.5   7.5
gemini-3.7-flash        1.5   0.15   1.5   7.5
gemini-3.6-flash        1.5   0.15   1.5   7.5
gemini-3.5-flash        1.5   0.15   1.5   9
gemini-3.5-flash-lite   0.3   0.03   0.3   2.5
gemini-3.1-pro-preview  2     0.2    2     12  > 200000  4    0.4   4      18
gemini-3.1-flash-lite   0.25  0.025  0.25  1.5
gemini-2.5-pro          1.25  0.125  1.25  10  > 200000  2.5  0.25  2.5    15
gemini-2.5-flash        0.3   0.03   0.3   2.5
gemini-2.5-flash-lite   0.1   0.01   0.1   0.4
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """The price in US dollars for a million tokens of each kind."""

    input: Decimal
    cached: Decimal
    written: Decimal
    output: Decimal

    def cost(self, tokens: TokenCount) -> Decimal:
        hour = min(tokens.hour, tokens.written)
        return (
            self.input * tokens.input
            + self.cached * tokens.cached
            + self.written * (tokens.written - hour)
            + max(self.written, HOUR * self.input) * hour
            + self.output * tokens.output
        ) / MILLION

    def times(self, factor: Decimal) -> Rate:
        return Rate(*(getattr(self, name) * factor for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Price:
    """One rate, and possibly another rate for requests with more input than `above`."""

    rate: Rate
    above: int | None = None
    dearer: Rate | None = None

    def cost(self, tokens: TokenCount) -> Decimal:
        input_tokens = tokens.input + tokens.cached + tokens.written
        dear = self.dearer is not None and self.above is not None and input_tokens > self.above
        return (self.dearer if dear and self.dearer else self.rate).cost(tokens)

    def times(self, factor: Decimal) -> Price:
        return Price(self.rate.times(factor), self.above, self.dearer and self.dearer.times(factor))


@dataclass(frozen=True, slots=True)
class Charge:
    """The price of an answer. `price`: the highest that may apply; `least`: the certain part; None: no price.
    `unsure`: the attributes of unknown price, as text; if empty, both prices are the same."""

    price: Price | None
    least: Price | None
    unsure: str = ""


class Prices:
    """Prices of models. `public`: whether the vendors' list is used, which is valid only for a vendor's own
    server; `host`: the vendor that runs the server with models of many makers, whose own list is used.

    `free`: whether the server is the owner's own, so that every model costs nothing.
    """

    def __init__(self, owner: Mapping[str, Price], public: bool, free: bool = False, host: str = "") -> None:
        self._free = free
        self._known = {**(PUBLIC if public else {}), **_read(_HOSTS.get(host, "")), **owner}

    def charge(self, terms: Mapping[str, str], *models: str) -> Charge:
        """Return the price of a model with these attributes; the owner may set a price for `MODEL TERM`."""
        odd = {name: value for name, value in terms.items() if value.lower() not in _USUAL}
        price = self.of(*models)
        for value in odd.values() if price != NOTHING else ():
            if own := self.of(*(f"{model} {value}" for model in models)):
                return Charge(own, own)
        if price is None or price == NOTHING or not odd:
            return Charge(price, price)
        factor = Decimal(1)
        for value in odd.values():
            factor *= _DEARER.get(value.lower(), UNHEARD)
        return Charge(price.times(factor), price, ", ".join(f"{name} {value}" for name, value in odd.items()))

    def of(self, *models: str) -> Price | None:
        """Return the price of the first of these names that has one; a date at its end may be ignored."""
        if self._free:
            return NOTHING
        for model in models:
            name = model.removeprefix("models/")
            found = self._known.get(name) or self._known.get(_DATED.sub("", name))
            if found:
                return found
        return None


NOTHING = Price(Rate(Decimal(0), Decimal(0), Decimal(0), Decimal(0)))


def price_of(words: str) -> Price:
    """Read a price of four numbers, or nine: `2 0.2 2.5 10 > 272000 4 0.4 5 15`. Raises ValueError."""
    base, _, more = words.partition(">")
    if not more:
        return Price(_parse_rate(base))
    above, _, rest = more.strip().partition(" ")
    return Price(_parse_rate(base), int(above), _parse_rate(rest))


def _parse_rate(words: str) -> Rate:
    try:
        numbers = [Decimal(word) for word in words.split()]
    except ArithmeticError as exc:
        raise ValueError(f"{words.strip()!r} has a value that is not a number") from exc
    if len(numbers) != 4 or not all(number.is_finite() and number >= 0 for number in numbers):
        raise ValueError(f"{words.strip()!r} must have four prices")
    return Rate(*numbers)


def _read(table: str) -> dict[str, Price]:
    rows = (line.split(None, 1) for line in table.strip().splitlines())
    return {name: price_of(words) for name, words in rows}


PUBLIC: Mapping[str, Price] = _read(_PUBLIC)
