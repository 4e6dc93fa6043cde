"""The context of every route: the coordinator, facts about its process, and a bell that reports changes."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

from node_agent.wire.identity import AttemptId
from pancode.commit import UNKNOWN
from pancode.config.changes import ChangeKind, ChangeMaker
from pancode.config.notify import NotifyRules
from pancode.fleet.answers import ProcessShape, RunningShape, TroubleShape
from pancode.fleet.part import CoordinatorPart
from pancode.fleet.place import ApiListener, ListenAddress
from pancode.fleet.ssh.machines import Machines
from pancode.fleet.ssh.unfinished_change import UnfinishedChanges
from pancode.fleet.standing import Held
from pancode.git.log_store import LogStreams
from pancode.kernel.errors import ConfigError, PancodeError, UnavailableError, UsageError
from pancode.runs.core import Core
from pancode.runs.lists import resolve_filters
from pancode.runs.reconcile import act_now
from pancode.runs.retention.service import FilesOfRuns
from pancode.runs.user_environment import ChosenSettings, OwnAgentsFile, Surroundings

log = logging.getLogger("pancode.api")
P = TypeVar("P")

LET_IN = "pancode.let_in"
"""A key in the ASGI scope of a TCP request: a function to call once the token is known to be valid."""


MakeChanges: TypeAlias = Callable[[Core, Surroundings], ChangeMaker]


class CoordinatorApi(Protocol):
    """The coordinator as routes use it. One per PANCODE_HOME; `serve` runs it."""

    fleet: Machines
    streams: LogStreams
    figures_at: ListenAddress | None
    """The address at which the coordinator's metrics are served; None: they are not served."""
    listener: ApiListener | None
    """The listener of its API over TCP; None: it is closed."""
    change_makers: Mapping[ChangeKind, MakeChanges]
    """Makes what carries out changes of the configuration that belong to a feature."""

    @property
    def core(self) -> Core:
        """Return the state that all features share."""

    @property
    def kept_files(self) -> FilesOfRuns:
        """Return the files of runs that are on the coordinator's disk."""

    @property
    def chosen(self) -> ChosenSettings:
        """Return the settings that `config set` has written."""

    @property
    def own_agents(self) -> OwnAgentsFile:
        """Return the agents that the user has defined."""

    def around(self, callers: Mapping[str, object], preset: str | None = None) -> Surroundings:
        """Return the user's configuration and folders. `callers`: settings for only this call, by dotted
        path. `preset`: the preset of this call; None: the preset that is applied to all calls."""

    def applied_preset(self, name: str | None) -> str | None:
        """Apply this preset to all calls that have no preset; None: no preset. Return the previous preset."""

    def attempts_of(self, pid: int, start: str) -> Sequence[AttemptId] | None:
        """Return the attempts that contain this local process, outermost last; None if it has exited."""

    def notify_rules(self) -> NotifyRules:
        """Return the settings of notices from the current files. Raises ConfigError."""

    def keep_secret(self, name: str, value: str | None) -> None:
        """Store a secret that only the coordinator can read; with value None, delete it."""

    def kept_secret(self, name: str) -> str:
        """Return the stored secret with this name. Raises NotFoundError."""

    @property
    def parts(self) -> Sequence[CoordinatorPart]:
        """Return what the features have in the coordinator."""

    def part(self, kind: type[P]) -> P:
        """Return the feature's part of the coordinator's state, which is an object of this class."""

    @property
    def held(self) -> Held | None:
        """Why this coordinator does not lead its fleet and only answers what reads; None: it leads."""

    def lead(self, by: str) -> None:
        """Lead the fleet from now on, as this user has confirmed. Raises CopyAtWorkError."""

    def is_replaced(self) -> bool:
        """Whether another coordinator was found to have led the fleet since, so that this process ends."""

    def closed(self) -> Sequence[TroubleShape]:
        """Return the ports for nodes that should be open but are not: what, why, fix."""

    def process_figures(self) -> Mapping[str, float]:
        """Return metrics of this process and its disk, by name; unknown values are left out."""

    def rotate_key(self, by: str) -> None:
        """Give the coordinator a new key; nodes get it at their next bring-up."""

    def after_reboot(self) -> str:
        """Return how the coordinator starts after a reboot."""

    def stay_down(self) -> None:
        """Prevent an automatic restart: a user stopped the coordinator, or PANCODE_HOME no longer exists."""

    def start(self) -> None:
        """Start Redis, depot server and links in a new epoch. UnavailableError, ConfigError with the fix."""

    def repair(self, failed: bool) -> str:
        """Restart PanCode's own Redis if it died. `failed`: Redis is unusable, so also reconnect the nodes.
        Return what was done, or an empty text. UnavailableError if repair is not possible now."""

    def stop(self, stop_valkey: bool) -> None:
        """Send the last events, then stop the links and, if requested, PanCode's own Valkey. Idempotent."""


class Ear:
    """A waiter for the bell on one event loop. `run`: new output of this run also wakes the waiter."""

    def __init__(self) -> None:
        self.run = ""
        self._loop, self._rung = asyncio.get_running_loop(), asyncio.Event()

    def hear(self) -> None:
        """Note that the bell has rung; callable from any thread."""
        with suppress(RuntimeError):  # that event loop has ended, and with it the waiting coroutine
            self._loop.call_soon_threadsafe(self._rung.set)

    def forget(self) -> None:
        """Forget earlier rings, because the caller now reads the changes that they announced."""
        self._rung.clear()

    async def wait(self, timeout_s: float) -> None:
        """Wait until the bell has rung since `forget`, or until the timeout."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), timeout_s)


class Bell:
    """A bell that any thread can ring when something may have changed; event loops wait for the ring."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ears: set[Ear] = set()
        self.count = 0
        """How often the bell has rung. Read it before the state, then pass it to `wait`, so that no change is
        missed. Rings for output are not counted."""

    def ring(self) -> None:
        with self._lock:
            self.count += 1
            ears = list(self._ears)
        for ear in ears:
            ear.hear()

    def grown(self, run: str) -> None:
        """Ring for new output of this run, which wakes only readers of that output."""
        with self._lock:
            ears = [ear for ear in self._ears if ear.run == run]
        for ear in ears:
            ear.hear()

    @contextmanager
    def listening(self) -> Iterator[Ear]:
        ear = Ear()
        with self._lock:
            self._ears.add(ear)
        try:
            yield ear
        finally:
            with self._lock:
                self._ears.discard(ear)

    async def wait(self, seen: int, timeout_s: float) -> bool:
        """Wait until the bell has rung since `seen`, or until the timeout; return whether it has rung."""
        with self.listening() as ear:
            if self.count == seen:
                await ear.wait(timeout_s)
        return self.count != seen


class Nudges:
    """Merges requests for a pass: those made before a pass begins share it, because it sees all changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = False

    def take(self) -> bool:
        """Return whether the caller must make the pass; if so, it calls `begun` under the core's lock."""
        with self._lock:
            first, self._waiting = not self._waiting, True
            return first

    def begun(self) -> None:
        """Note that the pass has begun, so that a later change needs another pass."""
        with self._lock:
            self._waiting = False


@dataclass(slots=True)
class PassTrouble:
    """The error of Redis or the ledger that now stops passes; only the thread of the passes writes it."""

    now: PancodeError | None = None

    def shape(self) -> TroubleShape | None:
        """Return the error in the form that interfaces show; None if there is none."""
        found = self.now
        return None if found is None else {"what": str(found), "why": found.why, "fix": found.fix}


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What every route gets. `facts`: pid, version, PANCODE_HOME, start time and so on of this process."""

    coordinator: CoordinatorApi
    facts: dict[str, Any]
    shutdown: Callable[[str], None]
    """Ends the process, given the user who requested it; empty if it ends because its home is gone."""
    loopback: Callable[[], str] | None = None
    """Opens the API on loopback for a browser, and returns its address; OSError if that fails."""
    bell: Bell = field(default_factory=Bell)
    closing: threading.Event = field(default_factory=threading.Event)
    nudges: Nudges = field(default_factory=Nudges)
    trouble: PassTrouble = field(default_factory=PassTrouble)
    unfinished: UnfinishedChanges = field(default_factory=UnfinishedChanges)
    closed: list[TroubleShape] = field(default_factory=list)
    """The ports that should be open but are not: what, why, fix."""

    def __post_init__(self) -> None:
        self.core.feed.listen(self.bell.ring)
        self.coordinator.streams.listeners.append(self.bell.grown)

    @property
    def core(self) -> Core:
        return self.coordinator.core

    def process(self) -> ProcessShape:
        """Return the facts about this process."""
        facts = self.facts
        return {
            "pid": facts["pid"],
            "version": facts["version"],
            "commit": facts.get("commit", UNKNOWN),
            "home": facts["home"],
            "started_at": facts["started_at"],
            "api": facts.get("api", ""),
        }

    def public_base(self) -> str | None:
        """Return the public address, else this machine's address; None if the API is closed on TCP."""
        opened = self.facts.get("api")
        if opened is None:
            return None
        try:
            public = self.coordinator.notify_rules().console
        except ConfigError:
            public = None
        return str(public or opened).rstrip("/")

    def running(self) -> RunningShape:
        """Return the facts about this process, and the problems that prevent it from working."""
        held = self.coordinator.held
        return {
            **self.process(),
            "held": None if held is None else held.shape(),
            "after_reboot": self.coordinator.after_reboot(),
            "trouble": self.trouble.shape(),
            "closed": [*self.coordinator.closed(), *self.closed],
        }

    def project_of(self, cwd: str | None) -> str | None:
        """Return the top folder of the repository around the caller's folder; None outside a repository."""
        return None if cwd is None else self.coordinator.around({}).project_of(cwd)

    def top_of(self, folder: str | None) -> str:
        """Return the top folder of the repository around the folder. Raises UsageError if there is none."""
        top = self.project_of(folder)
        if top is None:
            fix = "change to the repository, or name a project: --project (see pancode project ls)"
            what = f"{folder or 'this directory'} is not in a git repository"
            raise UsageError(what, fix=fix, code="no_repository")
        return top

    def known(self, query: Mapping[str, str]) -> dict[str, str]:
        """Return a request's filters. Raises NotFoundError if one names something that does not exist."""
        agents = self.coordinator.around({}).agents(None) if "agent" in query else {}
        return resolve_filters(self.core, query, agents)

    def poke(self) -> None:
        """Act on a change now, before the next pass; concurrent changes share one such action. Does not
        raise, because the change is stored and the next pass retries a failed action."""
        if self.coordinator.held is not None or not self.nudges.take():
            return
        with self.core.lock:
            self.nudges.begun()
            try:
                act_now(self.core)
            except (UnavailableError, ConfigError):  # the coordinator's loop reports and repairs this failure
                pass
            except Exception:
                log.exception("a change was stored but could not be acted on at once")
        self.bell.ring()
