"""Brings one node up, or removes everything of ours from it, step by step, with a report of each step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pancode.errors import PancodeError
from pancode.fleet.bundle.archive import Bundle
from pancode.fleet.bundle.store import BundleStore
from pancode.fleet.ssh import steps
from pancode.fleet.ssh.fleetkey import marker
from pancode.fleet.ssh.perform import StepDone, perform
from pancode.fleet.ssh.probe import NodeProbe, Python, probe
from pancode.fleet.ssh.readiness import NotReady, Weight, platforms, problems, stops
from pancode.fleet.ssh.remote import Remote
from pancode.fleet.ssh.steps import BringUpStep, HomeFile, NodeLocation, Put, RemoteScript, StepName


class StepState(StrEnum):
    RUNNING = "running"
    CHANGED = "changed"
    SAME = "same"
    FINE = "fine"
    """It was only looked at: there was nothing that could have been so before."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StepReport:
    """Progress of one step, for the readiness table. `seconds` counts from the step's start."""

    name: StepName
    state: StepState
    says: str = ""
    seconds: float = 0.0


Report = Callable[[StepReport], None]


@dataclass(frozen=True, slots=True)
class BringUpPlan:
    """The target state of a node. The callables belong to the coordinator.

    `files(public key, probe)` enrols the key and gives the home's files; `link()` opens the tunnels
    and says whether those that it had were gone on the node;
    `heartbeat(fresh)` returns when the node agent is heard (`fresh`: the one that was started now), or raises
    PancodeError.
    """

    fleet: str
    store: BundleStore
    files: Callable[[str, NodeProbe], Awaitable[Sequence[HomeFile]]]
    link: Callable[[NodeProbe], Awaitable[bool]]
    heartbeat: Callable[[bool], Awaitable[None]]
    wall_ms: Callable[[], int]
    node_home: str | None = None


@dataclass(frozen=True, slots=True)
class BroughtUp:
    """The result of a bring-up. `failed` names the step that stopped it; problems have their fixes."""

    probe: NodeProbe | None
    problems: tuple[NotReady, ...]
    public_key: str = ""
    bundle: Bundle | None = None
    changed: tuple[StepName, ...] = ()
    failed: StepName | None = None

    @property
    def ok(self) -> bool:
        return self.failed is None


@dataclass(frozen=True, slots=True)
class NodeRemoval:
    """The result of a removal: `left` lists our files that are still there; empty is the proof.

    `owners`: files that the node's owner had written by hand into the node home, which are gone with it.
    """

    left: tuple[str, ...]
    changed: bool
    owners: tuple[str, ...] = ()


@dataclass
class _Run:
    """The state of one bring-up while it goes on."""

    report: Report
    name: StepName = StepName.CONNECT
    says: str = ""
    began: float = 0.0
    changed: list[StepName] = field(default_factory=list)

    def begin(self, name: StepName, says: str) -> None:
        self.name, self.says, self.began = name, says, asyncio.get_running_loop().time()
        self.report(StepReport(name, StepState.RUNNING, says))

    def end(self, state: StepState, says: str = "") -> None:
        if state is StepState.CHANGED:
            self.changed.append(self.name)
        seconds = asyncio.get_running_loop().time() - self.began
        self.report(StepReport(self.name, state, says or self.says, seconds))

    async def act(self, remote: Remote, step: BringUpStep) -> StepDone:
        self.begin(step.name, step.says)
        done = await perform(remote, step)
        compared = step.there or any(isinstance(act, Put | RemoteScript) for act in step.acts)
        same = StepState.SAME if compared else StepState.FINE
        self.end(StepState.CHANGED if done.changed else same)
        return done

    async def wait(self, name: StepName, says: str, what: Awaitable[bool | None]) -> None:
        """Until it is so; True: it had to be mended."""
        self.begin(name, says)
        self.end(StepState.CHANGED if await what else StepState.FINE)


class _Stopped(Exception):
    """The node itself is not fit; the problems say why."""


async def bring_up(remote: Remote, plan: BringUpPlan, report: Report) -> BroughtUp:
    """All steps over one connection. Never raises for what is wrong with the node: the answer says it."""
    run = _Run(report)
    out = BroughtUp(None, ())
    try:
        run.begin(StepName.PROBE, "what is there")
        found = await _probe(remote, plan)
        known = problems(found, found.asked_ms[1])
        out = BroughtUp(found, known)
        if stops(known):
            raise _Stopped(stops(known)[0].what)
        run.end(StepState.FINE)
        bundle, python = await _bundle(plan, found, run)
        key = await _install(remote, plan, found, bundle, python, run)
        return BroughtUp(found, known, key, bundle, tuple(run.changed))
    except (_Stopped, PancodeError, ValueError) as error:
        run.end(StepState.FAILED, str(error))
        return BroughtUp(
            out.probe, _with(out.problems, run.name, error), changed=tuple(run.changed), failed=run.name
        )


async def _probe(remote: Remote, plan: BringUpPlan) -> NodeProbe:
    before = plan.wall_ms()
    found = await probe(remote, plan.fleet, plan.node_home)
    return replace(found, asked_ms=(before, plan.wall_ms()))


async def _bundle(plan: BringUpPlan, found: NodeProbe, run: _Run) -> tuple[Bundle, Python]:
    run.begin(StepName.BUNDLE, "make the node bundle")
    return await asyncio.to_thread(bundle_for, plan.store, found)


def bundle_for(store: BundleStore, found: NodeProbe) -> tuple[Bundle, Python]:
    """The bundle that this node gets, made where it is not there yet, and the Python that is to run it."""
    fit = platforms(found)
    platform, bundle = store.bundle_for([p for _, p in fit])
    return bundle, next(python for python, p in fit if p == platform)


async def _install(
    remote: Remote, plan: BringUpPlan, found: NodeProbe, bundle: Bundle, python: Python, run: _Run
) -> str:
    """From the first folder to the first heartbeat; returns the node's public key."""
    place = NodeLocation.of(plan.fleet, found)
    made = [await run.act(remote, step) for step in steps.first_steps(place, found, bundle, python)]
    key = made[-1].output.decode("ascii", "replace").strip()
    for step in steps.enrolled_steps(place, found, python.path, await plan.files(key, found)):
        await run.act(remote, step)
    await run.wait(StepName.CONNECT, "tunnels", plan.link(found))
    restart = bool(steps.RESTARTING & set(run.changed))
    await run.act(remote, steps.start_step(place, found, python.path, restart))
    fresh = StepName.START in run.changed
    await run.wait(StepName.HEARTBEAT, "the node agent is heard", plan.heartbeat(fresh))
    return key


def _with(known: tuple[NotReady, ...], name: StepName, error: Exception) -> tuple[NotReady, ...]:
    if isinstance(error, _Stopped):
        return known
    why, fix = getattr(error, "why", ""), getattr(error, "fix", "")
    what = f"{error}: {why}" if why else str(error)
    return (NotReady(name, what, fix, Weight.STOP), *known)


async def stop(remote: Remote, fleet: str, report: Report, node_home: str | None = None) -> bool:
    """End the node agent, leave everything else; whether one was running. SshError when it does not end."""
    run = _Run(report)
    place = NodeLocation.of(fleet, await probe(remote, fleet, node_home))
    return (await run.act(remote, steps.stop_step(place))).changed


async def remove(remote: Remote, fleet: str, report: Report, node_home: str | None = None) -> NodeRemoval:
    """Take everything of this fleet off the node, then prove it. SshError when a step fails; repeatable."""
    run = _Run(report)
    found = await probe(remote, fleet, node_home)
    place = NodeLocation.of(fleet, found)
    changed, left, owners = False, tuple[str, ...](), tuple[str, ...]()
    for step in steps.remove_steps(place, marker(fleet)):
        done = await run.act(remote, step)
        changed, left, owners = (
            changed or done.changed,
            done.values("left"),
            (*owners, *done.values("owners")),
        )
    return NodeRemoval(left, changed, owners)
