"""Puts one coordinator together: ledger, Redis, depot, links, control plane; starts and stops them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from node_agent.wire.clock import SystemClock, SystemIds
from node_agent.wire.logs import VARIABLE as LOG
from node_agent.wire.signing import SigningKey
from pancode import __version__
from pancode.access.door import DoorPlace
from pancode.bus.bus import RedisBus
from pancode.bus.valkey.access import RedisAccess
from pancode.bus.valkey.embedded import EmbeddedValkey
from pancode.bus.valkey.external import check_access
from pancode.code.git.depot import Depot
from pancode.code.git.port import GitDepot
from pancode.code.git.streams import LogStreams
from pancode.config.vendor_lists import KeptLists
from pancode.control import keyring
from pancode.control.core import ControlSettings, Core, Ports
from pancode.core.ports import Ledger
from pancode.core.records import Node
from pancode.errors import ConfigError
from pancode.fleet.bundle.store import BundleStore
from pancode.fleet.direct.entrance import Rooms
from pancode.fleet.ssh.connect import SshTiming
from pancode.fleet.ssh.forward_targets import End, TlsEnd
from pancode.fleet.ssh.link import Backoff
from pancode.fleet.ssh.tunnel import TunnelTargets
from pancode.host.files import FileArchive, FileEpochs
from pancode.host.fleet_lock import Alone
from pancode.nodes.place import Doorway, ListenAddress
from pancode.runs import rounds
from pancode.store.ledger import SqlLedger
from pancode.store.postgres import Database
from pancode.wiring.bringup import FleetParts
from pancode.wiring.depot import depot_server
from pancode.wiring.direct import Direct
from pancode.wiring.fleet import Fleet
from pancode.wiring.founding import fleet_id, own_key
from pancode.wiring.home import Home
from pancode.wiring.links import TEND_S, Links, LinkSettings
from pancode.wiring.loop import LoopThread

PATH_LIMIT = 104
OPEN_S = 30
SQUATTER = "another process has the coordinator's name: a copy of this home would not be noticed"


@dataclass(frozen=True, slots=True)
class CoordinatorSettings:
    """The owner's choices. `redis` None: our own Valkey; `database` None: a file in the home.

    `time_factor` scales deadlines (tests).
    """

    rules: ControlSettings = ControlSettings()
    slots: int = 4
    redis: RedisAccess | None = None
    time_factor: float = 1.0
    machines: Callable[[], tuple[str, ...]] = tuple
    """Addresses of model servers that the node on this machine looks at; asked at each bring-up."""
    database: Database | None = None
    direct: Doorway | None = None
    """The address for nodes without a tunnel; None: nowhere."""
    figures: ListenAddress | None = None
    """The address of its figures; None: nowhere."""
    door: DoorPlace | None = None
    """The address of its API over TCP; None: nowhere."""


class Coordinator:
    """Everything that one `pancode serve` runs. `start` once, `stop` once; both say what went wrong."""

    def __init__(self, home: Home, settings: CoordinatorSettings, environ: Mapping[str, str]) -> None:
        self.home = home
        self.settings = settings
        self._clock, self._ids = SystemClock(), SystemIds()
        self.valkey = EmbeddedValkey(home.valkey, self._clock, self._ids)
        self.key = home.signing_key() or self._fresh_key()
        self._alone = Alone(self.key.public.keyid, str(home.root), self._clock)
        self._alone.take()
        try:
            self._found(environ)
        except BaseException:
            self._alone.leave()
            raise

    def _found(self, environ: Mapping[str, str]) -> None:
        home, ledger = self.home, SqlLedger(self.settings.database or self.home.ledger)
        self.ledger: Ledger = ledger
        try:
            self.fleet_id = fleet_id(ledger, home, self._clock.wall_ms(), self._ids)
            self._own = own_key(ledger, home, self.settings.database, self.key, self._clock.wall_ms())
            self.key = self._own.key
            self._start_redis(environ)
        except BaseException:
            ledger.close()
            raise

    def _start_redis(self, environ: Mapping[str, str]) -> None:
        self._access = self._redis()  # what a bad key or ledger keeps from starting leaves no Valkey behind
        try:
            self._assemble(environ)
        except BaseException:
            if self.settings.redis is None:
                self.valkey.stop()
            raise

    def _assemble(self, environ: Mapping[str, str]) -> None:
        """The parts that need Redis; opens nothing yet."""
        home = self.home
        self.bus = RedisBus(self._access, self._clock)
        self.depot = GitDepot(Depot(home.depots), LogStreams(home.root), self._clock)
        self.core = self._core()
        self._depot_socket = _socket_path(home.root, "depot.sock")
        self._server = depot_server(
            self._depot_socket, self.depot.depot, self.depot.streams, self.core, self._ids
        )
        self.direct = Direct(self.settings.direct, home.direct, self.fleet_id, self._clock, self._tagged)
        self.loop = LoopThread("ssh")
        self.fleet = self._fleet(Path(environ.get("HOME") or Path.home()), environ.get(LOG, ""))

    def start(self) -> None:
        """Clear up after a killed one, begin the epoch, then let nodes in."""
        self.depot.depot.mend()
        self.core.former.update(self.home.former_keys())
        rounds.start(self.core)
        if self._own.instead_of:
            detail = {"old": self._own.instead_of, "new": self.key.public.tag}
            self.core.live.record_trust("error", "coordinator key given up as lost", **detail)
        self.retire_keys()
        if self._alone.squatter is not None:
            self.core.live.record_trust("error", SQUATTER, pid=self._alone.squatter)
        self._server.start()
        entrance = self.direct.furnish(Rooms(redis_end(self._access), self._depot_socket))
        if entrance is not None:
            self.loop.begin(entrance.keep())
            self.loop.call(entrance.tried.wait(), OPEN_S)
        self.fleet.start()

    def turn(self, wait_ms: int) -> None:
        """Wait for a word, then one round. UnavailableError without Redis: call `mend`, then again."""
        rounds.turn(self.core, rounds.listen(self.core, wait_ms))

    def rotate_key(self, by: str) -> None:
        """A new key; nodes are spoken to with the old one until a bring-up has brought them the new one."""
        fresh = self._fresh_key()
        beside = Alone(fresh.public.keyid, str(self.home.root), self._clock)
        beside.take()
        self.home.keep_both(self.key, fresh)
        keyring.rotate(self.core, fresh, by)
        self.home.keep_key(fresh)
        self._alone.leave()
        self._alone, self.key = beside, fresh
        self.retire_keys()

    def retire_keys(self) -> None:
        """Take former keys off the disk that no node needs any more."""
        for keyid in keyring.retire(self.core):
            self.home.forget_former(keyid)

    def _fresh_key(self) -> SigningKey:
        return SigningKey(bytes.fromhex(self._ids.token(32)))

    def mend(self) -> None:
        """Start our own Valkey again when it has ended or hangs, and let the nodes in. UnavailableError."""
        if self.settings.redis is None:
            self.valkey.start_or_adopt(__version__)
        self.fleet.admit_all()

    def stop(self, stop_valkey: bool) -> None:
        """Links first, then depot, bus and ledger, and Valkey last if asked. Node agents go on."""
        self.fleet.stop()
        self.loop.stop()
        self._server.stop()
        self.bus.close()
        self.ledger.close()
        if stop_valkey and self.settings.redis is None:
            self.valkey.stop()
        self._alone.leave()

    def _redis(self) -> RedisAccess:
        if self.settings.redis is not None:
            return check_access(self.settings.redis).access
        return self.valkey.start_or_adopt(__version__).access

    def _core(self) -> Core:
        archive = FileArchive(self.home.receipts, self._clock)
        epochs = FileEpochs(self.home.epoch)
        ports = Ports(self.ledger, self.bus, self.depot, archive, epochs, self._clock, self._ids, KeptLists())
        rules = self.settings.rules.scaled(self.settings.time_factor)
        return Core(ports, self.key, self.fleet_id, rules)

    def _fleet(self, user_home: Path, log: str) -> Fleet:
        ends = TunnelTargets(redis=redis_end(self._access), depot=self._depot_socket)
        timing, backoff = _paces(self.settings.time_factor)
        tend_s = max(1.0, TEND_S * self.settings.time_factor)
        settings = LinkSettings(
            self.fleet_id, self.home, user_home, ends, timing, backoff, self._node_of, self.direct, tend_s
        )
        parts = FleetParts(
            core=self.core,
            home=self.home,
            clock=self._clock,
            ids=self._ids,
            fleet=self.fleet_id,
            slots=self.settings.slots,
            time_factor=self.settings.time_factor,
            machines=self.settings.machines,
            user_home=user_home,
            direct=self.direct,
            log=log,
        )
        return Fleet(parts, self.loop, Links(settings), BundleStore(self.home.bundles))

    def _tagged(self, tag: str) -> list[Node]:
        with self.ledger.transaction() as tx:
            return tx.find(Node, {"tag": tag})

    def _node_of(self, name: str) -> Node | None:
        with self.ledger.transaction() as tx:
            return tx.get(Node, name)


def build(home: Home, settings: CoordinatorSettings, environ: Mapping[str, str]) -> Coordinator:
    """A coordinator on this home; the caller holds the home's lock."""
    home.prepare()
    return Coordinator(home, settings, environ)


def redis_end(access: RedisAccess) -> End:
    """The targets of tunnels. ConfigError for an address that a node could not use through one."""
    if access.db != 0:
        raise ConfigError(
            f"{access.origin} names database {access.db}",
            why="nodes use database 0 of the Redis that they are led to",
            fix="leave the number out, and give PanCode a Redis of its own",
        )
    if access.socket is not None:
        return Path(access.socket)
    if access.tls:
        return TlsEnd(access.host, access.port, access.beside.files.context)
    return access.host, access.port


def _paces(factor: float) -> tuple[SshTiming, Backoff]:
    """The time after which a silent link is dialled again; never quicker than a busy machine can answer."""
    normal, again = SshTiming(), Backoff()
    timing = SshTiming(keepalive_s=max(1.0, normal.keepalive_s * factor))
    last = max(1.0, again.last_s * factor)
    return timing, Backoff(last_s=last, refused_s=max(1.0, again.refused_s * factor))


def _socket_path(root: Path, name: str) -> Path:
    """The socket's path: in the home, or in a short folder of our own if the home's path is too long."""
    path = root / name
    if len(os.fsencode(path)) < PATH_LIMIT:
        return path
    folder = Path(f"/tmp/pancode-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise ConfigError(
            f"{folder} is not ours alone", fix=f"remove {folder}, or use a shorter PANCODE_HOME"
        )
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    return folder / f"{digest}-{name}"
