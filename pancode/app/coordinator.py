"""Assembles a coordinator from ledger, Redis, depot, links and control plane; starts and stops it."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from node_agent.wire.clock import Ids, SystemClock, SystemIds
from node_agent.wire.identity import AttemptId
from node_agent.wire.keep import KEEP, NodeKeep
from node_agent.wire.sealing import SEALED_FOR, seal_files
from node_agent.wire.signing import SigningKey
from pancode import __version__
from pancode.agents.vendor_lists import KeptLists
from pancode.app.features import FEATURES
from pancode.app.fleet_identity import fleet_id, own_key
from pancode.app.parts import AGREED, CHANGE_MAKERS, CLEAN, PARTS, Given, make_surroundings
from pancode.app.schema import SCHEMA
from pancode.config.agents.presets import NO_PRESET, apply_preset
from pancode.config.agents.writer import OwnAgents
from pancode.config.notify import NotifyRules
from pancode.config.removed import RemovedSetting
from pancode.config.settings_writer import KeptSettings
from pancode.config.user_environment import FileSurroundings
from pancode.config.variables import LOG
from pancode.config.watch import ConfigWatch
from pancode.fleet.answers import TroubleShape
from pancode.fleet.bundle.store import BundleStore
from pancode.fleet.place import ApiListener, ListenAddress
from pancode.fleet.seat import keep_seat
from pancode.fleet.ssh.bringup import BringUp, NodeDefaults
from pancode.fleet.ssh.connection import SshTiming
from pancode.fleet.ssh.forward_targets import End, TlsEnd
from pancode.fleet.ssh.home import Home
from pancode.fleet.ssh.link import Backoff
from pancode.fleet.ssh.links import TEND_S, Links, LinkSettings
from pancode.fleet.ssh.login_session import LOGIN, LoginSession
from pancode.fleet.ssh.loop import LoopThread
from pancode.fleet.ssh.machines import Machines
from pancode.fleet.ssh.tunnel import TunnelTargets
from pancode.fleet.standing import read_held, take_up
from pancode.fleet.systemd.user_unit import UserService
from pancode.git.depot import Depot
from pancode.git.depot_server import DepotParts, DepotServer, Grant, Refusal, StreamEnd, grant_for
from pancode.git.forge.forges import HttpForges
from pancode.git.forge_rules import ForgeAccess
from pancode.git.log_store import LogStreams
from pancode.git.port import GitDepot
from pancode.interfaces.http.access import tokens
from pancode.kernel.errors import ConfigError, PancodeError, UnavailableError
from pancode.kernel.host import process_attempts
from pancode.kernel.host.files import FileArchive, FileEpochs
from pancode.kernel.host.fleet_lock import Alone
from pancode.kernel.host.process_metrics import Itself
from pancode.kernel.host.secrets import KeptSecrets
from pancode.kernel.node import OwnMachine
from pancode.kernel.ports import Ledger
from pancode.kernel.processes import boot_id
from pancode.kernel.records import ApiToken, Node, Setting
from pancode.kernel.threads import BackgroundThread
from pancode.kernel.unfinished_restore import refuse_unfinished_restore
from pancode.queue.queue import RedisBus
from pancode.queue.valkey.access import RedisAccess
from pancode.queue.valkey.embedded_server import EmbeddedValkey
from pancode.queue.valkey.external import check_access
from pancode.runs import keyring, reconcile
from pancode.runs.core import BEHIND, ControlSettings, Core, Ports
from pancode.runs.depot_grant import StreamDenial, authorize, note_wait
from pancode.runs.features import features_of
from pancode.runs.restored.hold import begin_hold
from pancode.runs.retention.run_files import KeptFiles
from pancode.runs.retention.service import DailyRetention
from pancode.runs.unit_of_work import unit_of_work
from pancode.store.ledger import SqlLedger
from pancode.store.postgres import Database

log = logging.getLogger("pancode.depot")
P = TypeVar("P")


def depot_server(path: Path, depot: Depot, streams: LogStreams, core: Core, ids: Ids) -> DepotServer:
    """Return the server on this socket that gives nodes the depot; it logs refusals and broken streams."""

    def judge(line: bytes, nonce: str) -> Grant | Refusal:
        verdict = authorize(core, line, nonce)
        if isinstance(verdict, StreamDenial):
            log.warning("depot: %s", verdict.why)
            return Refusal(verdict.why)
        return grant_for(verdict.verb, verdict.identity, verdict.repo or None)

    def ended(end: StreamEnd) -> None:
        if end.problem:
            log.warning("depot stream %s: %s", end.grant.identity if end.grant else "?", end.problem)

    def held_up(grant: Grant, why: str) -> None:
        log.warning("depot: %s: %s", grant.identity, why)
        with suppress(UnavailableError):  # the ledger may be on the same full disk
            note_wait(core, grant.identity.run, why)

    return DepotServer(path, DepotParts(depot, streams, judge, ids, ended, held_up))


def forges_of(own: FileSurroundings, secrets: KeptSecrets) -> HttpForges:
    """Return the forges, with the settings in the user's current files, never those in a repository."""

    def read() -> Mapping[str, ForgeAccess]:
        return {host.lower(): one.access() for host, one in own.loaded().settings.forge.items()}

    return HttpForges(read, secrets.read, SystemClock())


PATH_LIMIT = 104
OPEN_S = 30
SQUATTER = (
    "another process has taken the coordinator's lock name, so a second copy of this home is not detected"
)


@dataclass(frozen=True, slots=True)
class CoordinatorSettings:
    """The owner's settings. `redis` None: PanCode starts its own Valkey; `database` None: a file in the home.
    `time_factor` scales deadlines (tests)."""

    rules: ControlSettings = ControlSettings()
    slots: int = 4
    least: int | None = None
    """The minimum of slots that a node uses when its machine is strained; None: always all."""
    keep: NodeKeep = KEEP
    redis: RedisAccess | None = None
    time_factor: float = 1.0
    machines: Callable[[], tuple[str, ...]] = tuple
    """Addresses of model servers that the node on this machine checks; read at each bring-up."""
    database: Database | None = None
    figures: ListenAddress | None = None
    """The address of the metrics; None: disabled."""
    listener: ApiListener | None = None
    """The address of the API over TCP; None: disabled."""


class Coordinator:
    """All parts of one `pancode serve`: the CoordinatorApi of pancode.interfaces.http.context. Call `start`
    once and `stop` once; both raise the errors of the parts."""

    def __init__(
        self, home: Home, settings: CoordinatorSettings, environ: Mapping[str, str], service: UserService
    ) -> None:
        refuse_unfinished_restore(home.root)  # a restore may have begun since the command looked
        self.home = home
        self.settings = settings
        self._environ, self._install = dict(environ), service.install
        own = os.environ if environ is os.environ else dict(environ)
        is_child = "--child" in sys.argv and environ.get("SYSTEMD_EXEC_PID") != str(os.getpid())
        self._login = LoginSession(own, SystemClock(), home.root / LOGIN, borrowed=is_child)
        self.after_reboot, self.stay_down = service.status, service.remove
        self.figures_at, self.listener = settings.figures, settings.listener
        self._clock, self._ids = SystemClock(), SystemIds()
        self.valkey = EmbeddedValkey(home.valkey, self._clock, self._ids)
        self.key = home.signing_key() or self._fresh_key()
        self._alone = Alone(self.key.public.keyid, str(home.root), self._clock)
        self._leading = threading.Lock()
        try:
            self._open_ledger(environ)
        except BaseException:
            self._alone.leave()
            raise

    def _open_ledger(self, environ: Mapping[str, str]) -> None:
        home, ledger = self.home, SqlLedger(self.settings.database or self.home.ledger, SCHEMA)
        self.ledger: Ledger = ledger
        try:
            self.fleet_id = fleet_id(ledger, home, self._clock.wall_ms(), self._ids)
            with ledger.transaction() as tx:
                self.held = read_held(tx, FileEpochs(home.epoch).last())
            if self.held is None:
                self._alone.take()
            self._own = own_key(ledger, home, self.settings.database, self.key, self._clock.wall_ms())
            self.key = self._own.key
            # after the key and ledger checks, so that their failure leaves no Valkey running
            self._access = self._open_redis()
            try:
                self._build_parts(environ)
            except BaseException:
                if self.settings.redis is None:
                    self.valkey.stop()
                raise
        except BaseException:
            ledger.close()
            raise

    def _build_parts(self, environ: Mapping[str, str]) -> None:
        """Create the parts that need Redis, without opening anything."""
        home = self.home
        self.bus = RedisBus(self._access, self._clock)
        self.depot = GitDepot(Depot(home.depots), LogStreams(home.root), self._clock)
        self.core = self._make_core()
        self._seat = keep_seat(self.core)
        self._seat.held = None if self.held is None else self.held.refuse()
        self._depot_socket = _socket_path(home.root, "depot.sock")
        self._server = depot_server(
            self._depot_socket, self.depot.depot, self.depot.streams, self.core, self._ids
        )
        self.loop = LoopThread("ssh")
        self.fleet = self._make_fleet(Path(environ.get("HOME") or Path.home()), environ.get(LOG, ""))
        self._around = self._make_around({}, None)
        self.kept_files = KeptFiles(self.depot.depot, home.root, self._clock)
        self.streams = self.depot.streams
        self.process_figures = Itself(home.root, self._clock).figures
        self.chosen = KeptSettings(home.root, self._environ)
        self.own_agents, self.change_makers = OwnAgents(home.root, self._environ), CHANGE_MAKERS
        secret = home.audit_secret(self._ids)
        self._config = ConfigWatch(self.core, lambda: self._around.loaded().whole_rows(), secret)
        self._follow_ons = self._make_threads()

    def _make_threads(self) -> tuple[BackgroundThread, ...]:
        """Create the background threads, some of which contact external services."""
        core, root, secrets = self.core, self.home.root, KeptSecrets(self.home.secrets)
        self._files = own = FileSurroundings(root, self._environ, preset=NO_PRESET)
        self.keep_secret, self.kept_secret = secrets.keep, secrets.read
        given = Given(
            core, self.around, own, self.notify_rules, secrets.read,
            self._login.own, root, self.fleet, self._seat, self.settings.database is None,
            forges_of(own, secrets), self.depot.depot, lambda: self.parts,
        )  # fmt: skip
        self.parts = tuple(make(given) for make in PARTS)
        return (
            *(one for make in features_of(core).threads for one in make(core, self.around)),
            *(one for part in self.parts for one in part.threads),
            DailyRetention(core, self.kept_files),
        )

    def notify_rules(self) -> NotifyRules:
        settings = self._files.loaded().settings
        return settings.notify.routes(is_open=settings.api.listen is not None)

    def is_replaced(self) -> bool:
        return self._seat.is_fenced or self.core.is_behind

    def attempts_of(self, pid: int, start: str) -> Sequence[AttemptId] | None:
        """Return the attempts that contain the caller; note the login session of one that is in none."""
        found = process_attempts.attempts_of(pid, start)
        if found == ():
            self._login.note(pid, start)
        return found

    def around(self, callers: Mapping[str, object], preset: str | None = None) -> FileSurroundings:
        """Return the settings for one call; without arguments, shared settings that reread changed files."""
        return self._around if not callers and preset is None else self._make_around(callers, preset)

    def _make_around(self, callers: Mapping[str, object], preset: str | None) -> FileSurroundings:
        def seal(files: Mapping[str, bytes]) -> str:
            return seal_files(files, self.core.key.public, SEALED_FOR)

        root, environ = self.home.root, self._environ
        return make_surroundings(root, environ, callers, preset=preset, seal=seal)

    def applied_preset(self, name: str | None) -> str | None:
        return apply_preset(self.home.root, name)

    def part(self, kind: type[P]) -> P:
        return next(one for one in self.parts if isinstance(one, kind))

    def closed(self) -> Sequence[TroubleShape]:
        removed: list[TroubleShape] = [
            {"what": one.what, "why": one.why, "fix": one.fix} for one in self._list_removed()
        ]
        return [*removed, *(one for part in self.parts for one in part.troubles)]

    def _list_removed(self) -> tuple[RemovedSetting, ...]:
        """Return the removed settings that are set; none if a file cannot be read, which others report."""
        with suppress(ConfigError):
            return self._around.loaded().removed
        return ()

    def start(self) -> None:
        """Clean up after a coordinator that was killed, begin a new epoch, then admit nodes. If it is held,
        only read what it answers with."""
        if self.held is None:
            self._begin()
            return
        self.core.epoch = self.held.epoch
        with self.ledger.transaction() as tx:
            self.core.feed.load(tx)

    def lead(self, by: str) -> None:
        """Lead the fleet from now on, as this user has confirmed. Raises CopyAtWorkError."""
        with self._leading:
            if self.held is None:
                return
            self._alone.take()
            with unit_of_work(self.core) as work:
                # This comes first: the events below, such as "taken up", are not from the restored ledger.
                begin_hold(work, self.held.why, has_led=work.tx.get(Setting, BEHIND) is not None)
                seat = take_up(
                    work.tx, self.held, self.core.most_epochs(), self.core.wall_ms(), self._ids.short(8), by
                )
                work.audit("fleet", "warning", "taken up", by=by, why=self.held.why, seat=seat.number)
                # Some may have been revoked since the copy, and nobody knows which.
                for token in work.tx.find(ApiToken):
                    tokens.revoke_in(work, token.name, by)
            for agreed in AGREED:
                (self.home.root / agreed).unlink(missing_ok=True)
            self._seat.lead()
            self._begin()
            self.core.live.contacts.sent.clear()  # what nodes know beyond this ledger is known by now
            self.held = None

    def _begin(self) -> None:
        for removed in self._list_removed():
            logging.getLogger("pancode.config").warning("%s", removed.words)
        self.depot.depot.repair()
        self.depot.depot.forget_unused(self._clock.wall_ms())
        self.core.ends_if_behind = True
        self.core.former.update(self.home.former_keys())
        reconcile.start_epoch(self.core)
        if self._own.instead_of:
            self.core.live.record_trust(
                "error",
                "the previous coordinator key was lost and has been given up",
                old=self._own.instead_of,
                new=self.key.public.tag,
            )
        self.retire_keys()
        if self._alone.squatter is not None:
            self.core.live.record_trust("error", SQUATTER, pid=self._alone.squatter)
        self._server.start()
        self.fleet.start()
        self._look_at_config()
        for one in self._follow_ons:
            one.start()

    def _look_at_config(self) -> None:
        """Record changed settings; a file that cannot be read is ignored here, as other parts report it."""
        with suppress(PancodeError):
            self._config.look()

    def rotate_key(self, by: str) -> None:
        """Create a new key. The old key signs for each node until a bring-up gives the node the new one."""
        fresh = self._fresh_key()
        beside = Alone(fresh.public.keyid, str(self.home.root), self._clock)
        beside.take()
        self.home.keep_both(self.key, fresh)
        keyring.rotate_key(self.core, fresh, by)
        self.home.keep_key(fresh)
        self._alone.leave()
        self._alone, self.key = beside, fresh
        self.retire_keys()

    def retire_keys(self) -> None:
        """Remove former keys that no node needs from the disk."""
        for keyid in keyring.retire_keys(self.core):
            self.home.forget_former(keyid)

    def _fresh_key(self) -> SigningKey:
        return SigningKey(bytes.fromhex(self._ids.token(32)))

    def repair(self, failed: bool) -> str:
        self._look_at_config()
        alive = self.settings.redis is not None or self.valkey.alive()
        if alive and not failed:
            return ""
        if self.settings.redis is None:
            self.valkey.start_or_adopt(__version__)
        self.fleet.admit_all()
        return "" if alive else "PanCode's own Redis server had stopped and was restarted"

    def stop(self, stop_valkey: bool) -> None:
        """Stop threads, links, depot, bus and ledger, and Valkey if requested. Node agents continue."""
        for one in self._follow_ons:
            one.stop()
        self.fleet.stop()
        self.loop.stop()
        self._server.stop()
        self.bus.close()
        self.ledger.close()
        if stop_valkey and self.settings.redis is None:
            self.valkey.stop()
        self._alone.leave()

    def _open_redis(self) -> RedisAccess:
        if self.settings.redis is not None:
            return check_access(self.settings.redis).access
        return self.valkey.start_or_adopt(__version__).access

    def _make_core(self) -> Core:
        archive = FileArchive(self.home.receipts, self._clock)
        epochs = FileEpochs(self.home.epoch)
        ports = Ports(self.ledger, self.bus, self.depot, archive, epochs, self._clock, self._ids, KeptLists())
        rules = self.settings.rules.scale(self.settings.time_factor)
        core = Core(ports, self.key, self.fleet_id, rules, FEATURES)
        core.machine = OwnMachine(boot_id(), platform.node(), str(self.home.root.resolve()))
        return core

    def _make_fleet(self, user_home: Path, log: str) -> Machines:
        ends = TunnelTargets(redis=redis_end(self._access), depot=self._depot_socket)
        timing, backoff = _scale_timing(self.settings.time_factor)
        tend_s = max(1.0, TEND_S * self.settings.time_factor)
        settings = LinkSettings(
            fleet=self.fleet_id,
            home=self.home,
            user_home=user_home,
            ends=ends,
            timing=timing,
            backoff=backoff,
            node_of=self._node_of,
            tend_s=tend_s,
            session=self._login,
            seat=self._seat,
        )
        defaults = NodeDefaults(
            self.settings.slots,
            self.settings.time_factor,
            self.settings.machines,
            user_home,
            log,
            self.settings.least,
            self.settings.keep,
        )
        bundles = BundleStore(self.home.bundles)
        bringup = BringUp(self.core, defaults, self.home, Links(settings), bundles, CLEAN)
        return Machines(bringup, self.loop, self._install, self.retire_keys)

    def _node_of(self, name: str) -> Node | None:
        with self.ledger.transaction() as tx:
            return tx.get(Node, name)


def redis_end(access: RedisAccess) -> End:
    """Return Redis as a tunnel target. ConfigError for an address that nodes cannot use through a tunnel."""
    if access.db != 0:
        raise ConfigError(
            f"{access.origin} names database {access.db}",
            why="nodes always use database 0 of Redis",
            fix="omit the number, and give PanCode its own Redis server",
        )
    if access.socket is not None:
        return Path(access.socket)
    if access.tls:
        return TlsEnd(access.host, access.port, access.beside.files.context)
    return access.host, access.port


def _scale_timing(factor: float) -> tuple[SshTiming, Backoff]:
    """Return the SSH intervals, scaled, but not shorter than a busy node needs to answer."""
    normal, again = SshTiming(), Backoff()
    timing = SshTiming(keepalive_s=max(1.0, normal.keepalive_s * factor))
    last = max(1.0, again.last_s * factor)
    return timing, Backoff(last_s=last, refused_s=max(1.0, again.refused_s * factor))


def _socket_path(root: Path, name: str) -> Path:
    """Return the socket's path: in the home, or in a short folder in /tmp if the home's path is too long."""
    path = root / name
    if len(os.fsencode(path)) < PATH_LIMIT:
        return path
    folder = Path(f"/tmp/pancode-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise ConfigError(
            f"{folder} is accessible to other users", fix=f"remove {folder}, or use a shorter PANCODE_HOME"
        )
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    return folder / f"{digest}-{name}"
