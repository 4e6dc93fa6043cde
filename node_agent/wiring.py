"""Builds a real node agent from a node agent's home; the only module that knows both ports and effects."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from node_agent.agent.agent import gpu_holders
from node_agent.agent.fleettime import FleetClock
from node_agent.agent.outputs import Follower, RedactingDepot
from node_agent.agent.publish import EventSigner
from node_agent.agent.snapshots import list_needed
from node_agent.agent.worker import Crew
from node_agent.agent.world import World
from node_agent.attempt.accept import Ceiling
from node_agent.attempt.claims import Self
from node_agent.attempt.gateways import Gateways, NoGateways
from node_agent.attempt.journal import Journal, LoggedJournal
from node_agent.attempt.ports import Uplink
from node_agent.endpoints.places import machine_places
from node_agent.endpoints.table import EndpointTable
from node_agent.gateway.opening import GatewayProcesses, Near, problems_of, read_wish
from node_agent.gateway.slots import folder_of, is_taken
from node_agent.intervals import Intervals
from node_agent.journal.storage import JournalFiles
from node_agent.link.bus import RedisUplink
from node_agent.machine.discovery import Finder, MachineProbe, OtherFacts, search_path, with_local_fix
from node_agent.machine.gpus import Gpus, gpus_here
from node_agent.machine.home import (
    End,
    LinkFile,
    NodeHome,
    NodeSettings,
    SettingsError,
    current_link,
    take_over,
)
from node_agent.machine.programs import LIBRARIES, PACKAGE
from node_agent.passport.exam import ExamTools, HttpChat, free_slot
from node_agent.passport.queue import ExamQueue, PassportCache
from node_agent.runner import scopes
from node_agent.runner.launching import LaunchSurroundings, NodeRuntimes
from node_agent.runner.runner import Runner
from node_agent.runtimes.base import Runtime
from node_agent.runtimes.hooks import approval_channel_of
from node_agent.runtimes.logins import list_token_paths
from node_agent.runtimes.others import runtime_of
from node_agent.runtimes.registry import RUNTIMES
from node_agent.runtimes.workers import OPTIMISED
from node_agent.sandbox.wrapper import Sandbox
from node_agent.shim import shim
from node_agent.vault.vault import Vault
from node_agent.wire.clock import Clock, Ids
from node_agent.wire.endpoint import EndpointFact
from node_agent.wire.identity import MESSAGES_KEY, ApprovalChannel, AttemptId, messages_in
from node_agent.wire.job import Job
from node_agent.wire.node import Hello, NodeProblem, Verb
from node_agent.wire.policy import Isolation
from node_agent.wire.sealing import open_files
from node_agent.wire.signing import SigningKey
from node_agent.workspace.depot import Address, DepotAccess, DepotClient
from node_agent.workspace.homes import HomeCalls, KeptSessions
from node_agent.workspace.set_up import machine_facts as machine_name
from node_agent.workspace.workspaces import Workspaces

ASKER = (sys.executable, "-I", "-S", *OPTIMISED, f"{PACKAGE}/acp/asking.py", PACKAGE, LIBRARIES)
"""The command of our program that checks whether a program supports ACP; that program's command follows."""


def others_of(ceiling: Ceiling) -> dict[str, Runtime]:
    """Return the runtimes that the owner has chosen, by name."""
    made = (runtime_of(name, agent, ASKER) for name, agent in ceiling.acp.items())
    return {runtime.name: runtime for runtime in made}


DISTRIBUTION = "pancode"
UNKNOWN_VERSION = "0+unknown"
LOOSE = "the kernel cannot limit the processes of a run on this node: they are only counted once a second"
LOOSE_FIX = "use Linux 5.14 with `prlimit` (util-linux), or a systemd user manager (loginctl enable-linger)"


@dataclass(frozen=True, slots=True)
class Parts:
    """A node agent that is ready to run, and the parts that must be ended with it."""

    world: World
    runner: Runner
    follower: Follower
    log: str
    """The log levels from the node's settings."""


def read_version() -> str:
    """Return this node agent's version from the file next to a bundle's `lib/`, or from package metadata."""
    bundle = Path(shim.__file__).parents[3] / "bundle.json"
    try:
        return str(json.loads(bundle.read_bytes())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    from importlib import metadata  # this import loads `email` and `zipfile`, which a bundle does not need

    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return UNKNOWN_VERSION


def build(home: NodeHome, clock: Clock, ids: Ids, uplink: Uplink | None = None) -> Parts:
    """Build all parts from `home`, not connecting. `uplink`: replaces the real one. Raises SettingsError."""
    take_over(home)
    settings, key, coordinators = home.read_settings(), home.read_key(), home.read_coordinators()
    if key.public.tag != settings.tag:
        raise SettingsError(f"{home.settings} is for node {settings.tag}, but the key is of {key.public.tag}")
    home.make_folders()
    vault = Vault(home.secrets, dict(os.environ), clock, list_token_paths(home.root))
    intervals, reserve = Intervals().scale(settings.time_factor), settings.disk_reserve
    node, fleet = Self(settings.fleet, settings.name, read_version(), key.public), FleetClock(0, ids.token(8))
    path, groups = search_path(settings.path, os.environ), scopes.find(settings.fleet, os.environ, clock)
    runner = Runner(sys.executable, Path(shim.__file__), clock, groups)
    sandbox = Sandbox(home.root, path, clock, os.path.expanduser("~"))
    endpoints = _make_endpoints(home, settings, vault, clock)

    def other_facts() -> OtherFacts:
        runner.reap()  # reap here too, since no process may be started for hours
        return _other_facts(groups, sandbox, endpoints, vault, problems_of(home.root))

    gpus = gpus_here(home.root / "gpus.json", clock)
    machine = MachineProbe(
        home.root,
        Finder(path, clock, vault.values, others=lambda: others_of(machine.ceiling())),
        clock,
        reserve,
        other_facts,
        lambda fact: with_local_fix(fact, home.root, settings.name, vault.trouble()),
        vault.news,
        gpus,
    )
    depot = DepotClient(DepotAccess(lambda: _depot_end(home), _Sign(node, key)))
    sessions = KeptSessions(home.root, lambda name: _find_sessions(name, machine), settings.keep.sessions)
    signer = EventSigner(node, key, clock, fleet)
    journal = LoggedJournal(settings.name, JournalFiles(home.journal), signer, clock)
    around = _make_surroundings(path, vault, machine, settings.name, key, endpoints, gpus, journal)
    runtimes = NodeRuntimes(replace(around, sandbox=sandbox, before=sessions.used_before))
    redacting = RedactingDepot(depot, lambda identity: runtimes.hidden(journal.job(identity)))
    world = World(
        node=node,
        key=key,
        keys=coordinators,
        journal=journal,
        runner=runner,
        workspaces=Workspaces(home.root, depot, reserve, machine_name(), list_needed(journal), settings.keep),
        depot=redacting,
        runtimes=runtimes,
        gateways=_make_gateways(home, settings, vault, ids, endpoints),
        uplink=uplink or _make_redis_uplink(home, settings, clock),
        facts=machine,
        fleet=fleet,
        clock=clock,
        ids=ids,
        intervals=intervals,
        slots=settings.slots,
        exams=ExamQueue(_make_exam_tools(home, endpoints, clock, ids), PassportCache(home.root)),
        sessions=sessions,
        calls=HomeCalls(home.root),
        aside=Crew().do,
    )
    return Parts(world, runner, Follower(journal, redacting, clock, intervals), settings.log)


def _make_redis_uplink(home: NodeHome, settings: NodeSettings, clock: Clock) -> RedisUplink:
    link = LinkFile(home.links)

    def where() -> End | None:
        ends = link.ends()
        return None if ends is None else ends.redis

    return RedisUplink(settings.tag, where, lambda: home.redis_password(settings), clock)


def _depot_end(home: NodeHome) -> Address | None:
    ends = current_link(home.links)
    if ends is None:
        return None
    return Path(ends.depot) if isinstance(ends.depot, str) else ends.depot


@dataclass(frozen=True, slots=True)
class _Sign:
    """Signs hello messages to the coordinator's git depot, each for one stream."""

    node: Self
    key: SigningKey

    def __call__(self, nonce: str, verb: Verb, identity: AttemptId) -> bytes:
        hello = Hello(fleet=self.node.fleet, node=self.node.tag, nonce=nonce, identity=identity, verb=verb)
        return hello.signed(self.key).model_dump_json().encode()


def _other_facts(
    groups: scopes.Scopes | None,
    sandbox: Sandbox,
    endpoints: EndpointTable,
    vault: Vault,
    files: tuple[NodeProblem, ...],
) -> OtherFacts:
    trouble, found = groups.trouble if groups else "", sandbox.find()
    scope = (NodeProblem(what=trouble, fix=scopes.FIX),) if trouble else ()
    wall = (found.problem,) if found.problem is not None else ()
    has_limits = groups is not None or (found.tools is not None and bool(found.tools.prlimit))
    loose = () if has_limits or found.tools is None else (NodeProblem(what=LOOSE, fix=LOOSE_FIX),)
    lesser = Isolation.LANDLOCK if found.landlock else Isolation.NONE
    isolation = Isolation.SANDBOX if found.tools else lesser
    servers = endpoints.facts()
    problems = (*scope, *wall, *loose, *vault.problems(), *files, *endpoints.problems())
    return OtherFacts(isolation, problems, servers, vault.names())


def _make_endpoints(home: NodeHome, settings: NodeSettings, vault: Vault, clock: Clock) -> EndpointTable:
    """Return the table of model endpoints. Raises SettingsError for an invalid host in node.json."""
    try:
        machines = tuple(place for text in settings.machines for place in machine_places(text))
    except ValueError as exc:
        raise SettingsError(f"{home.settings}: machines: {exc}") from exc
    every_ms = Intervals().scale(settings.time_factor).facts_ms

    def in_use(name: str) -> bool:
        return is_taken(folder_of(home.slots, name))

    return EndpointTable(home.root, clock, vault.values, machines, every_ms, in_use)


def _make_exam_tools(home: NodeHome, endpoints: EndpointTable, clock: Clock, ids: Ids) -> ExamTools:
    return ExamTools(
        servers=endpoints,
        chat=lambda server: HttpChat(server, clock),
        clock=clock,
        ids=ids,
        pause=lambda ms: time.sleep(ms / 1000),
        turn=partial(free_slot, home.slots),
    )


def _make_surroundings(
    path: str,
    vault: Vault,
    machine: MachineProbe,
    node: str,
    key: SigningKey,
    endpoints: EndpointTable,
    gpus: Gpus,
    journal: Journal,
) -> LaunchSurroundings:
    return LaunchSurroundings(
        path=path,
        python=sys.executable,
        values=vault.values,
        version=machine.version,
        owned=vault.owned,
        why_missing=vault.why_missing,
        node=node,
        rules=lambda: machine.ceiling().rules,
        others=lambda: others_of(machine.ceiling()),
        words_key=partial(_words_key, key),
        open_copied=lambda job: open_files(job.copied, key, str(job.identity)) if job.copied else {},
        channel=partial(_make_channel, key),
        server=partial(_find_fact, endpoints),
        gpus=lambda job: gpus.access(job, gpu_holders(journal)),
    )


def _find_sessions(name: str, machine: MachineProbe) -> tuple[str, ...]:
    runtime = RUNTIMES.get(name) or others_of(machine.ceiling()).get(name)
    return () if runtime is None else runtime.sessions


def _words_key(key: SigningKey, job: Job) -> dict[str, bytes]:
    return {MESSAGES_KEY: key.secret(messages_in(str(job.identity))).encode()}


def _make_channel(key: SigningKey, job: Job, home: str) -> ApprovalChannel:
    return approval_channel_of(home, job.identity, key.public.text(), job.limits.wall_ms)


def _find_fact(endpoints: EndpointTable, job: Job) -> EndpointFact | None:
    server = endpoints.server(job.endpoint) if job.endpoint else None
    return None if server is None else server.fact


def _make_gateways(
    home: NodeHome, settings: NodeSettings, vault: Vault, ids: Ids, endpoints: EndpointTable
) -> Gateways:
    if not settings.gateway:
        return NoGateways()
    near = Near(endpoints.server, home.slots)
    return GatewayProcesses(
        sys.executable, ids, vault.values, home.read_prices, lambda: read_wish(home.root), near
    )
