"""When a user is warned of a ceiling: by the currency with the least room."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pancode.budget.books import Ceilings
from pancode.kernel.records import Balance
from pancode.runs.unit_of_work import Alert, alert_of

USED = Balance("day:1", Decimal("6"), Decimal("2"), tokens=500, reserved_tokens=400, agent_ms=60_000)


@pytest.mark.parametrize(
    ("ceilings", "alert"),
    [
        (Ceilings(), None),
        (Ceilings(Decimal("10.01")), None),
        (Ceilings(Decimal(10)), Alert("day:1", 80, "$8.00", "$10.00")),
        (Ceilings(Decimal(10), 1_000), Alert("day:1", 90, "900 tokens", "1,000 tokens")),
        (Ceilings(Decimal(8), 1_000), Alert("day:1", 100, "$8.00", "$8.00")),
        (Ceilings(ms=60_000), Alert("day:1", 100, "1.0 agent-minutes", "1.0 agent-minutes")),
        (Ceilings(Decimal(0), 0, 0), None),
    ],
)
def test_the_currency_with_the_least_room(ceilings: Ceilings, alert: Alert | None) -> None:
    assert alert_of(USED, ceilings) == alert
