"""Rows w: what a node spends on runs that only wait: a program that sleeps, a chat whose model thinks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.figures import Goal, Row
from tests.bench.idle import log_in
from tests.bench.ours import OurFleet
from tests.bench.processes import own_cpu_ms
from tests.bench.talking import BUILDER
from tests.clis.launched import NATIVE
from tests.fakemodel.server import FakeModel

SETTLE_S, THINKS_S = 10.0, 600.0
PARTS = {"/shim/shim.py": "shim", "/native/program.py": "worker", "gateway": "gateway"}
LIMIT = "Looks each second at limits and at signs of life, the gateway's own clock, and the worker's timer."


def waiting(tell: Callable[[str], None], seconds: float) -> list[Row]:
    """On a local node: percent of a core of all its processes, less what it uses without a run."""
    script = {"turns": [{"text": "Done."}, {"text": "late", "latency": THINKS_S}], "count": "assistant"}
    with FakeModel(script) as model, OurFleet(environ=dict(NATIVE.env(model.url))) as ours:
        log_in(ours, dict(NATIVE.env(model.url)))
        top = ours.owner.repository("talk", {"notes.txt": "alpha\n"})
        ours.owner.run("fleet", "up", timeout_s=180).ok()
        idle = _use(ours, seconds)
        run = ours.api().dispatch(["/bin/sleep", str(int(THINKS_S))])
        slept = _use(ours, seconds)
        ours.api().call("POST", f"/v1/runs/{run}/stop", {"reason": "measured"})
        ours.owner.run("chat", *BUILDER, "begin", cwd=top, timeout_s=120, stdin="").ok()
        session = ours.owner.ask("sessions", "show", "last")["session"]
        ours.api().call("POST", f"/v1/sessions/{session}/words", {"text": "go on"})
        if not model.wait_until_asked(60):
            raise TimeoutError("the chat's worker does not ask its model")
        thought = _use(ours, seconds)
    rows = []
    for key, what, used, most in (
        ("w sleep", "a run that sleeps", slept, 0.15),
        ("w chat", "a chat turn that waits for its model", thought, 1.0),
    ):
        more = sum(used.values()) - sum(idle.values())
        parts = ", ".join(f"{who} {used[who] - idle.get(who, 0.0):.2f}" for who in used)
        tell(f"{key}: {more:.2f} % of a core ({parts})")
        bound, limit = f"the bound of {most:g} %", f"{LIMIT} In parts: {parts}."
        rows.append(Row(key, f"{what}, on its node", "%", more, most, bound, Goal(most=1.0), limit))
    return rows


def _use(ours: OurFleet, seconds: float) -> dict[str, float]:
    """Percent of a core of the node's processes, by part."""
    time.sleep(SETTLE_S)
    before = _times(ours)
    time.sleep(seconds)
    found: dict[str, float] = {}
    for pid, (who, ms) in _times(ours).items():
        found[who] = found.get(who, 0.0) + (ms - before.get(pid, (who, 0.0))[1]) / seconds / 10
    return found


def _times(ours: OurFleet) -> dict[int, tuple[str, float]]:
    """The part and the CPU time in ms of each process of the node."""
    agent = ours.node_pids()[0]
    found = {agent: ("agent", own_cpu_ms(agent))}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_text().replace("\0", " ")
            who = next((part for word, part in PARTS.items() if word in words), None)
            if who and str(ours.root).encode() in (entry / "environ").read_bytes() + words.encode():
                found[int(entry.name)] = (who, own_cpu_ms(int(entry.name)))
        except (OSError, ValueError):
            continue
    return found
