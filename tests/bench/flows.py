"""Row o: a batch against single runs, and how soon the next step of a chain starts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.bench.figures import Goal, Row, median, paired
from tests.bench.ours import NO_OP, Api, OurFleet

STEPS, START_MS = 8, 150.0


def flows(tell: Callable[[str], None], rounds: int, batch: int) -> list[Row]:
    """Bursts and batches of the same fleet in turn; then chains."""
    with OurFleet() as ours:
        ours.burst(8, NO_OP)
        api = ours.api()
        singles, batches = [], []
        for number in range(rounds):
            singles.append(batch / ours.burst(batch, NO_OP))
            batches.append(batch / _batch(ours, api, batch))
            tell(f"o {number + 1}/{rounds}: batch {batches[-1]:.1f}/s, single runs {singles[-1]:.1f}/s")
        gaps = [gap for _ in range(rounds) for gap in _gaps(api)]
    tell(f"o: the next step starts after {median(gaps):.0f} ms, at most {max(gaps):.0f} ms")
    what = f"runs settled per second, a batch of {batch} no-op tasks"
    limit = "Each run that ends reads the steps of its workflow, books two entries more, and writes its step."
    step = "end of a step's settlement to the start of the next one's process, median"
    why = "The next step is judged by ten gates, held, signed, carried to the node and started in between."
    rate = paired(batches, singles)
    peer = "the same runs, dispatched one by one"
    return [
        Row("o batch", what, "/s", median(batches), median(singles), peer, Goal(least=0.9), limit, rate),
        Row("o step", step, "ms", median(gaps), START_MS, "the time that is allowed", Goal(most=1.0), why),
    ]


def _step(name: str, *needs: str) -> dict[str, Any]:
    dispatch = {"argv": NO_OP, "runtime": "shell", "workspace": "none"}
    return {"name": name, "needs": list(needs), "dispatch": dispatch}


def _batch(ours: OurFleet, api: Api, count: int) -> float:
    """Seconds from the request to the end of the workflow."""
    target, began = ours.settled() + count, time.monotonic()
    _begin(api, "batch", [_step(f"t{number}") for number in range(count)])
    while ours.settled() < target:
        if time.monotonic() - began > 300:
            raise TimeoutError(f"{target - ours.settled()} of {count} runs are not settled")
        time.sleep(0.02)
    return time.monotonic() - began


def _gaps(api: Api) -> list[float]:
    """Milliseconds between the steps of one chain."""
    names = [f"s{number}" for number in range(STEPS)]
    steps = [_step(name, *names[max(0, at - 1) : at]) for at, name in enumerate(names)]
    workflow = _begin(api, "chain", steps)
    while (shape := json.loads(api.call("GET", f"/v1/workflows/{workflow}")))["state"] == "running":
        time.sleep(0.05)
    runs = [json.loads(api.call("GET", f"/v1/runs/{step['run']}")) for step in shape["steps"]]
    return [
        _ms(late["started_at"]) - _ms(early["finished_at"])
        for early, late in zip(runs, runs[1:], strict=False)
    ]


def _begin(api: Api, kind: str, steps: list[dict[str, Any]]) -> str:
    body = {"kind": kind, "steps": steps, "stagger_ms": 0}
    return str(json.loads(api.call("POST", "/v1/workflows", body))["workflow"])


def _ms(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() * 1_000
