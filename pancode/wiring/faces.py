"""Implements the protocols of the faces on the parts that wiring has put together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from node_agent.wire.clock import SystemClock, SystemIds
from node_agent.wire.identity import AttemptId
from pancode.access.run_rights import refused, run_of
from pancode.bus.valkey.access import Beside, RedisAccess, access_from_url
from pancode.code.git.heads import head_of
from pancode.code.git.streams import LogStreams
from pancode.code.landing.forges import open_pull_request
from pancode.code.landing.pull_request import PullAsked
from pancode.code.landing.verifying import Verifications
from pancode.config.load import ConfigPlaces, Loaded, load
from pancode.config.openings import direct_in, door_in, figures_in
from pancode.config.presets import NO_PRESET
from pancode.config.schema import Settings
from pancode.config.surroundings import FileSurroundings
from pancode.control.core import ControlSettings
from pancode.control.faces import (
    Caller,
    HostKeyQuestion,
    LinkWay,
    NodeResult,
    NodeSpec,
    Probed,
    Progress,
)
from pancode.control.shapes import PullRequestShape
from pancode.core.quota import ForeignReceipts
from pancode.core.records import ActionKind, Node, Run
from pancode.errors import PancodeError, RefusedError, UsageError
from pancode.fleet.config_watch import ConfigWatch
from pancode.fleet.ports import unwatched
from pancode.fleet.ssh.target import Overrides
from pancode.host import callers
from pancode.host.process_metrics import Itself
from pancode.nodes.node import Deadlines
from pancode.notices.routing import NotifyRules
from pancode.runs.followon import FollowOn
from pancode.sessions.words import GoingOn
from pancode.store.ledger import SqlLedger
from pancode.store.postgres import Database, database_of
from pancode.systemd.user_unit import UserService
from pancode.wiring.code import DepotCode
from pancode.wiring.coordinator import Coordinator, CoordinatorSettings, build
from pancode.wiring.fleet import Fleet, HostKeyOffer
from pancode.wiring.forges import forges_of
from pancode.wiring.home import Home
from pancode.wiring.outgoing import OutgoingParts
from pancode.wiring.reboot import service_of
from pancode.wiring.telemetry import BackgroundThread, tracing_of
from pancode.work.schedule.pushes import PushWatch
from pancode.work.schedule.scheduler import Scheduler
from pancode.work.workflow.advancing import Advancing
from pancode.work.workflow.starting import StepStarter


class FaceCoordinator:
    """pancode.control.faces.Coordinator for production."""

    def __init__(self, inner: Coordinator, environ: Mapping[str, str], service: UserService) -> None:
        self._inner = inner
        self._service = service
        self._environ = dict(environ)
        self._root = inner.home.root
        self._around = FileSurroundings(self._root, self._environ)
        self.core = core = inner.core
        self.fleet = FaceFleet(inner.fleet, service, inner.retire_keys)
        self.code = DepotCode(inner.depot.depot, inner.core)
        self.streams = FaceStreams(inner.depot.streams)
        secret = inner.home.audit_secret(SystemIds())
        self._config = ConfigWatch(core, lambda: self._around.loaded().whole_rows(), secret)
        workflows = Advancing(core, StepStarter(core, self.around))
        self._outgoing = OutgoingParts(self._root, self._environ, core)
        self._forges = forges_of(self._root, self._environ, self._outgoing.secrets)
        scheduler = Scheduler(core, self.around)
        self._follow_ons: tuple[BackgroundThread, ...] = (
            self.code.queue,
            FollowOn(core, {ActionKind.ADVANCE: workflows}),
            scheduler,
            PushWatch(core, scheduler, head_of),
            self._outgoing.sending,
            *tracing_of(self._root, self._environ, core),
            FollowOn(core, {ActionKind.VERIFY: Verifications(core)}),
            FollowOn(core, {ActionKind.GO_ON: GoingOn(core, self.around)}),
        )
        self._itself = Itself(self._root, SystemClock())
        self.figures_at = inner.settings.figures
        self.door = inner.settings.door

    def around(self, callers: Mapping[str, object], preset: str | None = None) -> FileSurroundings:
        """Settings of one call are read for that call; without any, files are read when they change."""
        if not callers and preset is None:
            return self._around
        return FileSurroundings(self._root, self._environ, callers, preset=preset)

    def applied_preset(self, name: str | None) -> str | None:
        """Kept in a file of its own, beside those that the user writes."""
        return self._inner.home.applied_preset(name)

    def attempts_of(self, pid: int, start: str) -> Sequence[AttemptId] | None:
        return callers.attempts_of(pid, start)

    def process_figures(self) -> Mapping[str, float]:
        return self._itself.figures()

    def notify_rules(self) -> NotifyRules:
        return self._outgoing.rules()

    def judge_webhook(self, url: str) -> None:
        self._outgoing.sender.judge(url)

    def keep_secret(self, name: str, value: str | None) -> None:
        self._outgoing.secrets.keep(name, value)

    def kept_secret(self, name: str) -> str:
        return self._outgoing.secrets.read(name)

    def pull_request(self, run: Run, asked: PullAsked) -> PullRequestShape:
        return open_pull_request(self._inner.core, self._forges, run, asked)

    def head_of(self, repo: str, branch: str) -> str:
        return head_of(repo, branch)

    def closed(self) -> Sequence[Mapping[str, str]]:
        found = self._inner.direct.troubles
        closed = [{"what": str(one), "why": one.why, "fix": one.fix} for one in found]
        return [*closed, *self._outgoing.shown()]

    def rotate_key(self, by: str) -> None:
        self._inner.rotate_key(by)

    def after_reboot(self) -> str:
        return self._service.status()

    def stay_down(self) -> None:
        self._service.remove()

    def start(self) -> None:
        self._inner.start()
        self._look_at_config()
        for one in self._follow_ons:
            one.start()

    def _look_at_config(self) -> None:
        """A file that cannot be read is reported by its other readers."""
        with suppress(PancodeError):
            self._config.look()

    def mend(self, failed: bool) -> str:
        self._look_at_config()
        alive = self._inner.settings.redis is not None or self._inner.valkey.alive()
        if alive and not failed:
            return ""
        self._inner.mend()
        return "" if alive else "our own Redis had ended and was started again"

    def stop(self, stop_valkey: bool) -> None:
        for one in self._follow_ons:
            one.stop()
        self._inner.stop(stop_valkey)


class FaceStreams:
    """Delivered logs, by the name that a receipt has for them."""

    def __init__(self, streams: LogStreams) -> None:
        self._streams = streams

    def arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        return self._streams.holds(identity, name, size, sha256)

    def read(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        return self._streams.read(identity, name, offset, limit)

    def names(self, identity: AttemptId) -> list[str]:
        folder = self._streams.log(identity, "out").parent
        if not folder.is_dir():
            return []
        return sorted(p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


class FaceFleet:
    """pancode.control.faces.FleetVerbs on wiring's fleet."""

    def __init__(self, fleet: Fleet, service: UserService, retire_keys: Callable[[], None]) -> None:
        self._fleet = fleet
        self._service = service
        self._retire_keys = retire_keys

    def probe(self, spec: NodeSpec, caller: Caller) -> Probed:
        if spec.local:
            return Probed({"name": spec.name, "local": True}, ())
        found = self._look(spec, caller)
        target = found.target
        fields = {"name": spec.name, "host": target.host, "port": target.port, "user": target.user}
        hops = [hop.endpoint for hop in target.hops]
        asked = () if found.known else (_question(found),)
        return Probed({**fields, "hops": hops, "fingerprint": found.fingerprint}, asked, target.warnings)

    def add(self, spec: NodeSpec, caller: Caller) -> Node:
        if spec.local:
            if spec.link == "direct":
                raise UsageError("this machine needs no link", fix="leave --link out with --local")
            home = Path(spec.local_home) if spec.local_home is not None else None
            return self._fleet.add_local(spec.name, home, spec.slots, spec.labels)
        found = self._look(spec, caller)
        if not found.known or spec.fingerprint is not None:
            _check_accepted(found, spec.fingerprint)
        return self._fleet.add(found, spec.labels, spec.slots, spec.fleet_key, spec.link == "direct")

    def up(
        self, names: Sequence[str], caller: Caller, progress: Progress, link: LinkWay | None = None
    ) -> list[NodeResult]:
        if link is not None:
            self._fleet.set_link(names, link == "direct")
        self._service.install()
        results = self._fleet.up(names, progress, caller.environ.get("SSH_AUTH_SOCK"))
        self._retire_keys()
        return [result.news() for result in results]

    def down(self, names: Sequence[str], caller: Caller, progress: Progress) -> list[NodeResult]:
        return self._fleet.down(names, progress, caller.environ.get("SSH_AUTH_SOCK"))

    def remove(self, name: str, caller: Caller, progress: Progress) -> NodeResult:
        return self._fleet.remove(name, progress, caller.environ.get("SSH_AUTH_SOCK"))

    def handed(self, name: str, probe: str | None, key: str | None, remove: bool) -> dict[str, Any]:
        return self._fleet.handed(name, probe, key, remove)

    def cleaned(self, name: str) -> bool:
        return self._fleet.cleaned(name)

    def let_in(self, names: Sequence[str]) -> None:
        self._fleet.let_in(names)

    def trust(self, name: str, fingerprint: str, caller: Caller) -> NodeResult:
        found = self._look(NodeSpec(name), caller)
        _check_accepted(found, fingerprint)
        self._fleet.trust(found, caller.by)
        return NodeResult(name, True, changed=("host key",))

    def doctor(self, names: Sequence[str], caller: Caller) -> list[dict[str, Any]]:
        """A second `up` changes nothing that is right, and names all that is wrong; a note is not a fault."""
        results = self._fleet.up(names, unwatched, caller.environ.get("SSH_AUTH_SOCK"))
        problems = [
            {"node": r.node, "what": p["what"], "ok": p.get("weight") == "note", "fix": p["fix"]}
            for r in results
            for p in r.problems
        ]
        fine = [{"node": r.node, "what": "reached, checked", "ok": True, "fix": ""} for r in results if r.ok]
        return problems + fine

    def _look(self, spec: NodeSpec, caller: Caller) -> HostKeyOffer:
        given = Overrides(spec.host, spec.user, spec.port, spec.identity)
        return self._fleet.look(spec.name, given, caller.environ)


def build_for_faces(root: Path, environ: Mapping[str, str]) -> FaceCoordinator:
    """The coordinator of this home, by its settings. ConfigError names file and key; InsideRunError."""
    loaded = load(ConfigPlaces(root), environ, preset=NO_PRESET)  # presets are about dispatches
    settings, database = loaded.settings, database_in(loaded)
    _not_inside(Home(root), database)

    def read() -> Settings:
        return load(ConfigPlaces(root), environ, preset=NO_PRESET).settings

    service = service_of(root, (settings.redis.url, settings.ledger.url), environ)
    chosen = replace(coordinator_settings(settings, read), database=database, redis=redis_in(loaded))
    chosen = replace(chosen, direct=direct_in(loaded), figures=figures_in(loaded), door=door_in(loaded))
    return FaceCoordinator(build(Home(root), chosen, environ), environ, service)


def database_in(loaded: Loaded) -> Database | None:
    """The PostgreSQL that the settings name; None: a file. ConfigError for an address that is none."""
    url = loaded.settings.ledger.url
    password = loaded.settings.ledger.password_file
    return None if url is None else database_of(url, loaded.origin("ledger.url"), password)


def redis_in(loaded: Loaded) -> RedisAccess | None:
    """The Redis that the settings name; None: our own. ConfigError as `access_from_url`."""
    redis = loaded.settings.redis
    if redis.url is None:
        return None
    beside = Beside.of(**redis.model_dump(exclude={"url"}))
    return access_from_url(redis.url, loaded.origin("redis.url"), beside)


def _not_inside(home: Home, database: Database | None) -> None:
    """A run of this fleet is not to be the parent of its coordinator, which would end with it."""
    attempts = callers.attempts_of(os.getpid(), callers.start_of(os.getpid()))
    if not attempts or not (home.epoch if database else home.ledger).exists():
        return
    ledger = SqlLedger(database or home.ledger, sole=False)
    try:
        run = run_of(ledger, attempts)
    finally:
        ledger.close()
    if run is not None:
        raise refused(run, "to start the coordinator")


def coordinator_settings(settings: Settings, read: Callable[[], Settings]) -> CoordinatorSettings:
    """`read`: as the files are later, for what may change while the coordinator runs."""
    return CoordinatorSettings(
        rules=rules_of(settings),
        slots=settings.nodes.slots,
        time_factor=settings.timing.factor,
        machines=lambda: read().models.machines,
    )


def rules_of(settings: Settings) -> ControlSettings:
    """The control plane's times and ceiling, before they are scaled."""
    timing = settings.timing
    return ControlSettings(
        ceiling_usd=settings.budget.ceiling,
        deadlines=Deadlines(timing.ask, timing.suspect, timing.unreachable, timing.lost),
        beat_ms=timing.beat,
        start_by_ms=timing.start_by,
        push_again_ms=timing.push_again,
        control_again_ms=timing.control_again,
        refused_pause_ms=timing.refused_pause,
        retry_pause_ms=timing.retry_pause,
        node_quota=settings.nodes.redis_quota,
        evidence=ForeignReceipts(settings.nodes.evidence_receipts, settings.nodes.evidence_size),
    )


def _question(found: HostKeyOffer) -> HostKeyQuestion:
    where = found.target.endpoint
    text = f"{found.name} ({where}) has the host key {found.fingerprint}"
    if found.changed_from is not None:
        text += f", and had {found.changed_from} before: ask its owner why before you accept this"
    return HostKeyQuestion("host_key", text, found.fingerprint)


def _check_accepted(found: HostKeyOffer, fingerprint: str | None) -> None:
    if fingerprint is None:
        raise UsageError(
            f"the host key of {found.name} was not accepted",
            why=f"it presents {found.fingerprint}",
            fix=f"compare it on that machine, then add --accept-fingerprint {found.fingerprint}",
            code="fingerprint_not_accepted",
        )
    if fingerprint != found.fingerprint:
        raise RefusedError(
            f"{found.name} presents another host key than the one accepted",
            why=f"accepted {fingerprint}, presented {found.fingerprint}",
            fix="compare on that machine: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            code="host_key_differs",
        )
