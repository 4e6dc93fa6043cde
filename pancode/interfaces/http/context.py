"""The context of every route: the coordinator, facts of its process, and a bell that rings on change."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from node_agent.wire.identity import AttemptId
from pancode.checkouts.copies import CheckoutCopies
from pancode.commit import UNKNOWN
from pancode.config.notify import NotifyRules
from pancode.fleet.answers import ProcessShape, RunningShape, TroubleShape
from pancode.fleet.place import ApiListener, ListenAddress
from pancode.fleet.ssh.machines import Machines
from pancode.git.forge_rules import ForgeKind
from pancode.git.log_store import LogStreams
from pancode.kernel.errors import ConfigError, PancodeError, UnavailableError, UsageError
from pancode.kernel.records import Run
from pancode.landing.answers import PullRequestShape
from pancode.landing.git.change_store import DepotCode
from pancode.landing.pull_request import PullAsked
from pancode.runs.core import Core
from pancode.runs.reconcile import act_now
from pancode.runs.retention.service import FilesOfRuns
from pancode.runs.user_environment import ChosenSettings, OwnAgentsFile, Surroundings
from pancode.workflows.store import resolve_filters

log = logging.getLogger("pancode.api")
P = TypeVar("P")

LET_IN = "pancode.let_in"
"""The key in the scope of a request over TCP: what is called once its token is known to be valid."""


class CoordinatorApi(Protocol):
    """The coordinator as the routes see it. One per PANCODE_HOME; made by wiring, run by `serve`."""

    fleet: Machines
    code: DepotCode
    streams: LogStreams
    figures_at: ListenAddress | None
    """The address at which its figures are served; None: nowhere."""
    listener: ApiListener | None
    """The place of its API over TCP; None: it is closed."""

    @property
    def core(self) -> Core:
        """The state that the use cases share."""

    @property
    def kept_files(self) -> FilesOfRuns:
        """The files that its disk keeps of runs."""

    @property
    def checkouts(self) -> CheckoutCopies:
        """The copies of checkouts on other nodes."""

    @property
    def chosen(self) -> ChosenSettings:
        """The settings that `config set` has written."""

    @property
    def own_agents(self) -> OwnAgentsFile:
        """The agents that the user has written."""

    def around(self, callers: Mapping[str, object], preset: str | None = None) -> Surroundings:
        """Return the user's configuration and folders; `callers`: settings of this call alone, by dotted
        path.

        `preset`: that of this call; None: the applied one.
        """

    def applied_preset(self, name: str | None) -> str | None:
        """Apply this preset to all calls that name none; None: no preset. Return the one before."""

    def attempts_of(self, pid: int, start: str) -> Sequence[AttemptId] | None:
        """Return the attempts to which this local process belongs, the outermost last. None: it is gone."""

    def notify_rules(self) -> NotifyRules:
        """Return the settings of notices as the files are now. ConfigError."""

    def keep_secret(self, name: str, value: str | None) -> None:
        """Keep a secret for the coordinator alone; None: forget it."""

    def kept_secret(self, name: str) -> str:
        """Return the secret that is kept by this name. NotFoundError."""

    def part(self, kind: type[P]) -> P:
        """Return what the feature with this class keeps in the coordinator."""

    def describe_landing(self, run: Run) -> str:
        """Say what trackers show now of a landed run; it may take seconds. Empty: nothing."""

    def check_pull(self, run: Run, remote: str, kind: ForgeKind | None) -> None:
        """Raise the errors of a pull request that are known before anything is landed."""

    def pull_request(self, run: Run, request: PullAsked) -> PullRequestShape:
        """Open a pull request for a landed run, or find the open one. The errors of its forge."""

    def head_of(self, repo: str, branch: str) -> str:
        """Return the commit at the head of a repository's branch. NotFoundError."""

    def closed(self) -> Sequence[TroubleShape]:
        """Return the ports for nodes that should be open and are not: what, why, fix."""

    def process_figures(self) -> Mapping[str, float]:
        """Return figures of this process and its disk, by name; unknown ones are left out."""

    def rotate_key(self, by: str) -> None:
        """Give the coordinator a new key; nodes learn it at their next bring-up."""

    def after_reboot(self) -> str:
        """Say how the coordinator starts after a reboot."""

    def stay_down(self) -> None:
        """Let nothing start it again by itself: it was told to end, or its home is gone."""

    def start(self) -> None:
        """Start Redis, depot server and links in a new epoch. UnavailableError, ConfigError with the fix."""

    def repair(self, failed: bool) -> str:
        """Start our own Redis again if it died; `failed`: it cannot be used, so let the nodes in anew too.

        Returns what was done, or empty. UnavailableError when it cannot be repaired now.
        """

    def stop(self, stop_valkey: bool) -> None:
        """Say the last word, then stop links and (if asked) our own Valkey. Idempotent."""


class Ear:
    """Hears the bell on one event loop. `run`: it also hears that this run's output has grown."""

    def __init__(self) -> None:
        self.run = ""
        self._loop, self._rung = asyncio.get_running_loop(), asyncio.Event()

    def hear(self) -> None:
        """Note that the bell has rung, from any thread."""
        with suppress(RuntimeError):  # that loop has ended, and its waiter with it
            self._loop.call_soon_threadsafe(self._rung.set)

    def forget(self) -> None:
        """Forget earlier rings: what they told of is looked at now."""
        self._rung.clear()

    async def wait(self, timeout_s: float) -> None:
        """Wait until the bell has rung since `forget`, or the time is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), timeout_s)


class Bell:
    """Rung from any thread when something may have changed; waited for on the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ears: set[Ear] = set()
        self.count = 0
        """How often it has rung. Read it before looking, hand it to `wait`: nothing is missed. Output does
        not count."""

    def ring(self) -> None:
        with self._lock:
            self.count += 1
            ears = list(self._ears)
        for ear in ears:
            ear.hear()

    def grown(self, run: str) -> None:
        """Ring for this run's new output; only those who read that output hear it."""
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
        """Wait until the bell has rung since `seen`, or the time is over; return whether it has rung."""
        with self.listening() as ear:
            if self.count == seen:
                await ear.wait(timeout_s)
        return self.count != seen


class Nudges:
    """Merges requests for a turn: those before the turn has begun share it, as it will see every change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = False

    def take(self) -> bool:
        """Whether the caller has to make the turn; it then calls `begun` under the core's lock."""
        with self._lock:
            first, self._waiting = not self._waiting, True
            return first

    def begun(self) -> None:
        """Note that the turn has begun: a later change needs another one."""
        with self._lock:
            self._waiting = False


@dataclass(slots=True)
class PassTrouble:
    """The error of Redis or the ledger that stops passes now; only their thread writes it."""

    now: PancodeError | None = None

    def shape(self) -> TroubleShape | None:
        """Return the trouble in the shape that faces show; None while all is well."""
        found = self.now
        return None if found is None else {"what": str(found), "why": found.why, "fix": found.fix}


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What every route is handed. `facts`: pid, version, home, since ... of this process."""

    coordinator: CoordinatorApi
    facts: dict[str, Any]
    shutdown: Callable[[str], None]
    """Ends the process; told by whom, empty where it ends because its home is gone."""
    loopback: Callable[[], str] | None = None
    """Opens the API on loopback for a browser, and returns its address; OSError where it cannot."""
    bell: Bell = field(default_factory=Bell)
    closing: threading.Event = field(default_factory=threading.Event)
    nudges: Nudges = field(default_factory=Nudges)
    trouble: PassTrouble = field(default_factory=PassTrouble)
    closed: list[TroubleShape] = field(default_factory=list)
    """The ports that should be open and are not: what, why, fix."""

    def __post_init__(self) -> None:
        self.core.feed.listen(self.bell.ring)
        self.coordinator.streams.listeners.append(self.bell.grown)

    @property
    def core(self) -> Core:
        return self.coordinator.core

    def process(self) -> ProcessShape:
        """Return what is known of this process."""
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
        """Return the public address, else that of this machine; None: the API is closed."""
        opened = self.facts.get("api")
        if opened is None:
            return None
        try:
            public = self.coordinator.notify_rules().console
        except ConfigError:
            public = None
        return str(public or opened).rstrip("/")

    def running(self) -> RunningShape:
        """Return this process, and what keeps it from its work."""
        return {
            **self.process(),
            "after_reboot": self.coordinator.after_reboot(),
            "trouble": self.trouble.shape(),
            "closed": [*self.coordinator.closed(), *self.closed],
        }

    def project_of(self, cwd: str | None) -> str | None:
        """Return the top of the repository around the caller's folder; None outside of one."""
        return None if cwd is None else self.coordinator.around({}).project_of(cwd)

    def top_of(self, folder: str | None) -> str:
        """Return the top of the repository around the folder. UsageError where there is none."""
        top = self.project_of(folder)
        if top is None:
            fix = "go into the repository, or name a project: --project (see pancode project ls)"
            what = f"{folder or 'this directory'} is not in a git repository"
            raise UsageError(what, fix=fix, code="no_repository")
        return top

    def known(self, query: Mapping[str, str]) -> dict[str, str]:
        """Return the filters of a request. NotFoundError where one names what does not exist."""
        agents = self.coordinator.around({}).agents(None) if "agent" in query else {}
        return resolve_filters(self.core, query, agents)

    def poke(self) -> None:
        """Act on a change now instead of at the next pass; changes of one moment share a turn.

        Raises nothing: the change is made, and what fails here the next pass does.
        """
        if not self.nudges.take():
            return
        with self.core.lock:
            self.nudges.begun()
            try:
                act_now(self.core)
            except (UnavailableError, ConfigError):  # the loop tells, and repairs
                pass
            except Exception:
                log.exception("a change was made, and could not be acted upon at once")
        self.bell.ring()
