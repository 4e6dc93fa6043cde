"""A sample of an ended run."""

from __future__ import annotations

from decimal import Decimal

from node_agent.wire.failure import Outcome
from pancode.kernel.records import EndedRun

ENDED = EndedRun(
    run="r-7f3k2q",
    ended_ms=9,
    agent="builder",
    model=None,
    runtime="claude",
    kind="change",
    repository="/p",
    node="gpubox",
    outcome=Outcome.DONE,
    started=True,
    counts=True,
    judges=False,
    landed=False,
    reverted=False,
    left=True,
    retry_of=None,
    ms=5,
    usd=Decimal("0.123456789"),
    tokens=2**62,
    agent_ms=4,
    unknown=False,
    first_ms=3,
    last_ms=8,
    size="small",
)
