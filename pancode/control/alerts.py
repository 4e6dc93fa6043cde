"""Decides when a person is warned that little is left under a ceiling."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from pancode.core.books import Ceilings, minutes, plus
from pancode.core.records import Balance

ALERT_AT = Decimal("0.8")
ALERT = "alert:"
"""Before a scope's name: the setting that says for which ceiling the alert was given."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A warning: this share of a scope's ceiling is spent or held."""

    scope: str
    percent: int
    used: str
    ceiling: str


def alert_of(balance: Balance, ceilings: Ceilings) -> Alert | None:
    """The currency with the least room, once 80 % of it is spent or held; a ceiling of 0 has no alert."""
    found = [(share, used, most) for share, used, most in _shares(balance, ceilings) if share >= ALERT_AT]
    if not found:
        return None
    share, used, most = max(found)
    return Alert(balance.scope, int(share * 100), used, most)


def _shares(balance: Balance, ceilings: Ceilings) -> list[tuple[Decimal, str, str]]:
    shares = []
    if ceilings.usd:
        used = plus(balance.spent_usd, balance.held_usd)
        shares.append((used / ceilings.usd, f"${used:.2f}", f"${ceilings.usd:.2f}"))
    if ceilings.tokens:
        tokens = balance.tokens + balance.held_tokens
        shares.append(
            (Decimal(tokens) / ceilings.tokens, f"{tokens:,} tokens", f"{ceilings.tokens:,} tokens")
        )
    if ceilings.ms:
        ms = balance.agent_ms + balance.held_ms
        reached, most = (f"{minutes(one)} agent-minutes" for one in (ms, ceilings.ms))
        shares.append((Decimal(ms) / ceilings.ms, reached, most))
    return shares
