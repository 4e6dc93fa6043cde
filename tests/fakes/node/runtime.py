"""One runtime and the facts of a machine, in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.attempt.accept import Ceiling
from node_agent.attempt.gateways import GatewayAccess
from node_agent.attempt.ports import (
    NOTHING_LAID,
    LaidMessageOf,
    Launch,
    ReportedEnd,
    ReportedUsage,
    StepFailed,
)
from node_agent.policy.judging import NO_BOUNDS, Bounds
from node_agent.runtimes.base import ExitInfo
from node_agent.runtimes.logins import LimitReset
from node_agent.shim.spool import PhasePlan
from node_agent.wire.endpoint import EndpointFact
from node_agent.wire.failure import FailureKind
from node_agent.wire.job import Job
from node_agent.wire.node import GpuFact, GpuLoad, NodeFacts, NodeProblem, RuntimeFact
from node_agent.wire.policy import NO_RULES, Isolation, Rules
from node_agent.wire.receipt import Usage
from tests.fakes.node.host import MemoryHost


class LineReader:
    """Reads JSON lines `{"answer", "in", "out", "usd", "turns", "tool", "resets"}`, and nothing else."""

    def __init__(self) -> None:
        self._rest, self._answer = b"", ""
        self._session: str | None = None
        self._resets: LimitReset | None = None
        self._usage, self._tools = Usage(cost_source="unknown"), dict[str, int]()

    def feed(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if isinstance(said, dict):
                self._take(said)

    def _take(self, said: dict[str, Any]) -> None:
        self._answer = said.get("answer", self._answer)
        self._session = said.get("session", self._session)
        if "resets" in said:
            self._resets = LimitReset(said["resets"])
        if "tool" in said:
            self._tools[said["tool"]] = self._tools.get(said["tool"], 0) + 1
        if "usd" in said:
            self._usage = Usage(
                input_tokens=said.get("in", 0),
                output_tokens=said.get("out", 0),
                turns=said.get("turns", 0),
                cost_usd=Decimal(said["usd"]),
                cost_source="reported",
            )

    def spent(self) -> ReportedUsage:
        return ReportedUsage(self._usage, self._tools)

    def finish(self, end: ExitInfo) -> ReportedEnd:
        if end.status != 0:
            fault: FailureKind | None = FailureKind.AGENT_FAILED
        else:
            fault = None if self._answer else FailureKind.NO_ANSWER
        reason = "" if fault is None else f"exit {end.status}, answer {self._answer!r}"
        return ReportedEnd(
            fault, reason, self._answer, session=self._session, spent=self.spent(), resets=self._resets
        )


class MemoryRuntimes:
    """The Runtimes port with one runtime that prints what a LineReader reads. `wall`: it has a sandbox."""

    wall = False
    unset: tuple[str, ...] = ()

    def __init__(self, secrets: Mapping[str, str] | None = None) -> None:
        self.secrets = dict(secrets or {})

    def launch(
        self, job: Job, work: Path, home: Path, guide: str = "", listener: GatewayAccess | None = None
    ) -> Launch:
        argv, env = ("double", job.task or "-"), {"HOME": str(home)}
        isolation = Isolation.SANDBOX if self.wall else Isolation.NONE
        owner, given = 60_706 if self.wall else None, job.agent.prompt + guide
        stdin = job.task.encode()
        return Launch(
            argv, env, stdin=stdin, prompt=given, isolation=isolation, owner=owner, unset=self.unset
        )

    def open_copied(self, job: Job) -> dict[str, bytes]:
        return {".env.local": job.copied.encode()} if job.copied else {}

    def hidden(self, job: Job) -> dict[str, str]:
        return self.secrets

    def enclose(
        self,
        job: Job,
        plan: PhasePlan,
        shown: tuple[Path, ...],
        listener: GatewayAccess | None,
        rules: Rules = NO_RULES,
    ) -> PhasePlan:
        if not self.wall:
            raise StepFailed(FailureKind.SANDBOX, "there is no sandbox")
        return replace(plan, steps=tuple(replace(one, walled=True) for one in plan.steps))

    def reader(self, job: Job, bounds: Bounds = NO_BOUNDS, laid: LaidMessageOf = NOTHING_LAID) -> LineReader:
        return LineReader()


class MemoryFacts:
    """The Facts port."""

    def __init__(self, host: MemoryHost, runtimes: tuple[str, ...] = ("shell", "scripted")) -> None:
        self._host, self._runtimes = host, runtimes
        self.top, self.load = Ceiling(), 0.0
        self.endpoints: tuple[EndpointFact, ...] = ()
        self.gpus: tuple[GpuFact, ...] = ()
        self.loads: tuple[GpuLoad, ...] = ()
        self.finds: Callable[[str], RuntimeFact] = lambda name: RuntimeFact(name=name, state="ok")

    def boot_id(self) -> str:
        return self._host.boot

    def look(self) -> NodeFacts:
        return NodeFacts(
            hostname="memory",
            os="none",
            arch="none",
            python="3",
            cpus=1,
            memory=1,
            disk_free=1,
            load_1m=self.load,
            isolation=Isolation.NONE,
            runtimes=tuple(self.finds(name) for name in self._runtimes),
            endpoints=self.endpoints,
            gpus=self.gpus,
            wall_ms=self._host.clock.wall_ms(),
            shut=NodeProblem(what="the disk is full", fix="free disk") if self._host.full else None,
            allows=self.top.told(),
        )

    def news(self) -> bool:
        return False

    def gpu_loads(self) -> tuple[GpuLoad, ...]:
        return self.loads

    def disk_ok(self) -> bool:
        return not self._host.full

    def ceiling(self) -> Ceiling:
        return self.top
