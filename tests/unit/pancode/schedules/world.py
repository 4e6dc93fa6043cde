"""Schedules on a coordinator in memory: made by the API, fired as its thread does."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.wire.receipt import Usage
from pancode.kernel.records import Run
from pancode.kernel.signature_check import STANDARD, compute_signature
from pancode.schedules.records import Firing
from pancode.schedules.scheduler import Scheduler
from tests.unit.pancode.interfaces.http.world import World

HOUR = 3_600_000


def signed_headers(secret: str, message_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """The headers of a webhook, as a program signs it by Standard Webhooks."""
    signed = (message_id, str(at_s), compute_signature(secret, message_id, at_s, body))
    return {"Content-Type": "application/json", **dict(zip(STANDARD, signed, strict=True))}


class Times:
    """Its clock moves only as a test says."""

    def __init__(self, home: Path) -> None:
        self.world = World(home)
        self.desk, self.node = self.world.context, self.world.node
        self.scheduler = self.fresh()

    def fresh(self) -> Scheduler:
        """As a coordinator has it that was just started."""
        return Scheduler(self.desk.core, self.world.coordinator.around)

    def add(self, name: str = "nightly", **more: Any) -> dict[str, Any]:
        said = {"name": name, "dispatch": self.world.shell(), **more}
        if "workflow" in more:
            del said["dispatch"]
        answer = self.world.http.post("/v1/schedules", said)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def pass_(self, ms: int) -> float:
        """Time goes by, and the thread looks."""
        self.desk.clock.ms += ms
        self.node.breathe()
        return self.scheduler.run_pass()

    def firings(self, name: str = "nightly") -> list[tuple[str, str]]:
        found = sorted(self.desk.rows(Firing, schedule=name), key=lambda one: one.at_ms)
        return [(one.key, one.state.value) for one in found]

    def states(self, name: str = "nightly") -> list[str]:
        return [state for _, state in self.firings(name)]

    def runs(self) -> list[Run]:
        return sorted(self.desk.rows(Run), key=lambda run: run.created_ms)

    def play(self, **ended: Any) -> None:
        """The run that waits is carried out, and ends."""
        self.node.breathe()
        self.desk.turn()
        job = self.world.claim()
        self.node.start(job)
        self.node.deliver(
            job, **{"usage": Usage(cost_usd=Decimal(0), cost_source="local"), **ended}
        )  # a script costs nothing
        self.desk.turn()
        self.node.breathe()

    def show(self, name: str = "nightly") -> dict[str, Any]:
        return dict(self.world.http.get(f"/v1/schedules/{name}").json())

    def act(self, verb: str, name: str = "nightly", **body: Any) -> Any:
        return self.world.http.post(f"/v1/schedules/{name}/{verb}", {"by": "ana", **body})
