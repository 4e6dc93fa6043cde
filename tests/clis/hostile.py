"""One hostile run in a real program, on a real node agent, with its sandbox or without: what came of it."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.runtimes.workerspec import TOOLS
from node_agent.wire.control import StopControl
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job, Limits
from node_agent.wire.policy import CommandRule, Isolation, Rules, Safety, compile_policy
from node_agent.wire.receipt import Claims
from pancode.agents.runtimes import READ_ONLY
from pancode.agents.safety_evidence import ACTS, HostileAct, TryResult
from tests.clis.conftest import path_of
from tests.clis.hands import HANDS
from tests.clis.launched import Cli, patient
from tests.clis.target import OWNERS, RULED, Target
from tests.fakemodel import FakeModel
from tests.fakemodel.state import Log
from tests.integration.git.repos import snap, workspace_of
from tests.integration.node.gateway_world import KEY, GatewayWorld
from tests.integration.node.node_world import NodeWorld, until

RUN = AttemptId(run=f"r-ev{os.getpid()}", attempt=1, lease=1)
"""No other test of this machine may sweep it away."""
LIMITS = Limits(wall_ms=120_000, idle_ms=60_000, output_bytes=1 << 26)
AT_MOST_S, PATIENCE_S = 90, 20
SHELL = Cli("shell", "", lambda url: {})
"""The user's own script: it has no rule of its own, so only the sandbox holds it."""


@dataclass(frozen=True)
class Cell:
    """One program under one rule, in the sandbox or not."""

    cli: Cli
    rule: str
    wall: Isolation

    @property
    def acts(self) -> list[HostileAct]:
        return [act for act in ACTS if self.cli is not SHELL or not act.agents]


def came_of(cell: Cell, folder: Path) -> tuple[Claims, dict[str, TryResult]]:
    """What the run says of itself at its end, and what came of each act that fits the program."""
    root, name = folder / "n" / "work" / str(RUN), cell.cli.runtime
    programs = None if cell.cli is SHELL else path_of(name)
    with (
        Target(folder, root / "tree", root / "git", folder / "n" / "secrets.json", KEY) as target,
        FakeModel(script(cell, target), log=Log(dump_dir=str(folder / "bodies"))) as model,
    ):
        world = NodeWorld(folder) if programs is None else GatewayWorld(folder, model, name, programs)
        try:
            claims = _run(world, cell, target, folder / "bodies")
            target.hear(world.log(RUN).decode("utf-8", "replace"))
        finally:
            world.end()
        return claims, {act.name: _result(act, target, claims) for act in cell.acts}


def script(cell: Cell, target: Target) -> dict[str, Any]:
    """A try per turn; then the model is silent, so that the run is still there to be looked at."""
    if cell.cli is SHELL:
        return {}
    turns = [target.turn(act, HANDS[cell.cli.runtime]) for act in cell.acts]
    return {"turns": [*turns, {"fault": {"hang": 600}}], "api_key": KEY, "cwd": str(target.tree)}


def _run(world: NodeWorld, cell: Cell, target: Target, bodies: Path) -> Claims:
    """Until it has tried all, or was ended for it; what it did is looked at while it is there."""
    if cell.wall is Isolation.NONE:
        world.without_sandbox()
    _mark_secrets(world)
    world.taken = snap(world.repo, world.depot, RUN.run)
    world.begin()
    world.coordinator.push(job_of(world, cell, target))

    def over() -> bool:
        tried = str(RUN) in world.coordinator.claims or _all_tried(world)
        target.look()  # after that question, so that what was said last is heard, too
        for path in bodies.glob("*"):
            target.hear(path.read_text())
        return tried

    until(over, timeout_s=AT_MOST_S, told=lambda: world.story(RUN))
    if not _ended_for_it(world, target):
        world.coordinator.tell(StopControl(identity=RUN, reason="all was tried"))
    claims = world.ended(RUN, AT_MOST_S)
    target.look_after()
    return claims


def _mark_secrets(world: NodeWorld) -> None:
    """With a name of its own in the owner's file: values of it are taken out of what a run prints."""
    file = world.home.secrets
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**known, OWNERS: "x"}))
    file.chmod(0o600)


def _ended_for_it(world: NodeWorld, target: Target) -> bool:
    """Over by itself; a command that a rule forbids ends the run a moment after it was told of."""
    over = lambda: str(RUN) in world.coordinator.claims  # noqa: E731
    if "command" in target.seen:
        with contextlib.suppress(AssertionError):
            until(over, timeout_s=PATIENCE_S)
    return over()


def _all_tried(world: NodeWorld) -> bool:
    """The model has been asked for what comes after the last try."""
    return isinstance(world, GatewayWorld) and bool(world.model.state.fault_hits)


def job_of(world: NodeWorld, cell: Cell, target: Target) -> Job:
    read_only = cell.rule == READ_ONLY
    safety = Safety.AUTO_EDIT if read_only else Safety(cell.rule)
    rules = Rules(commands=(CommandRule(pattern=RULED),))
    policy = compile_policy(safety, read_only, cell.wall is Isolation.NONE, rules=rules)
    task = _all_in_one(cell, target) if cell.cli is SHELL else "Go on."
    job = world.job(task, runtime=cell.cli.runtime, safety=safety, read_only=read_only)
    agent = job.agent.model_copy(update={"tools": TOOLS})
    changes = {
        "agent": agent,
        "identity": RUN,
        "workspace": workspace_of(world.taken),
        "policy": policy,
        "limits": patient(LIMITS),
    }
    return job.model_copy(update={**changes, "model": cell.cli.model or None, "env": (), "secrets": ()})


def _all_in_one(cell: Cell, target: Target) -> str:
    """A script of all tries, which stays for a moment so that what it started can be seen."""
    return "\n".join([*(f"( {target.command(act.name)} ) || :" for act in cell.acts), "sleep 1"])


def _result(act: HostileAct, target: Target, claims: Claims) -> TryResult:
    if act.name == "command" and claims.failure is FailureKind.RULE_BROKEN:
        return TryResult.ENDED
    return TryResult.HAPPENED if act.name in target.seen else TryResult.STOPPED
