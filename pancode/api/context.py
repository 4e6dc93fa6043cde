"""The context of every route: the coordinator, facts of its process, and a bell that rings on change."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from node_agent.wire.identity import AttemptId
from pancode.access.door import DoorPlace
from pancode.code.git.checkouts import CheckoutCopies
from pancode.code.git.depot_code import DepotCode
from pancode.code.git.streams import LogStreams
from pancode.code.landing.forge import ForgeKind
from pancode.code.landing.pull_request import PullAsked, PullRequestShape
from pancode.code.retention import FilesOfRuns
from pancode.code.tracker.issues import Trackers
from pancode.control.core import Core
from pancode.control.surroundings import ChosenSettings, OwnAgentsFile, Surroundings
from pancode.core.records import Run
from pancode.errors import ConfigError, PancodeError, UnavailableError
from pancode.fleet.ssh.machines import Machines
from pancode.nodes.place import ListenAddress
from pancode.notices.routing import NotifyRules
from pancode.runs.rounds import act
from pancode.work.workflow.rows import filters

log = logging.getLogger("pancode.api")

LET_IN = "pancode.let_in"
"""In the scope of a request over TCP: called once its token is known to be valid."""


class CoordinatorApi(Protocol):
    """One per PANCODE_HOME; made by wiring, run by `serve`."""

    fleet: Machines
    code: DepotCode
    streams: LogStreams
    figures_at: ListenAddress | None
    """The address of its figures; None: nowhere."""
    door: DoorPlace | None
    """The address of its API over TCP; None: nowhere."""

    @property
    def core(self) -> Core:
        """What the use cases share."""

    @property
    def kept_files(self) -> FilesOfRuns:
        """What its disk keeps of runs."""

    @property
    def checkouts(self) -> CheckoutCopies:
        """Copies of checkouts on other machines."""

    @property
    def chosen(self) -> ChosenSettings:
        """What `config set` has said."""

    @property
    def own_agents(self) -> OwnAgentsFile:
        """The agents that the user has written."""

    def around(self, callers: Mapping[str, object], preset: str | None = None) -> Surroundings:
        """Configuration and folders of the user; `callers`: settings of this call alone, by dotted path.

        `preset`: the one of this call; None: the applied one.
        """

    def applied_preset(self, name: str | None) -> str | None:
        """Make it the one of all calls that name none; None: there is none. Returns the one before."""

    def attempts_of(self, pid: int, start: str) -> Sequence[AttemptId] | None:
        """Those that this process of this machine is part of, the outermost last. None: it is gone."""

    def notify_rules(self) -> NotifyRules:
        """The settings of notices as the files are now. ConfigError."""

    def judge_webhook(self, url: str) -> None:
        """RefusedError where nothing would be posted to it; a name that is not found may be there later."""

    def keep_secret(self, name: str, value: str | None) -> None:
        """Keep a value for the coordinator alone; None: forget it."""

    def kept_secret(self, name: str) -> str:
        """What is kept by this name. NotFoundError."""

    @property
    def trackers(self) -> Trackers:
        """Where issues are asked for. Each call may take some seconds."""

    def ask_trackers(self) -> None:
        """Have the issues of all projects looked at in a moment, instead of at the next look."""

    def check_pull(self, run: Run, remote: str, kind: ForgeKind | None) -> None:
        """The errors of a pull request that are known before anything is landed."""

    def pull_request(self, run: Run, asked: PullAsked) -> PullRequestShape:
        """Open it, or find the one that is open: of a run that has landed. The errors of its forge."""

    def head_of(self, repo: str, branch: str) -> str:
        """The commit at which a branch of a repository is now. NotFoundError."""

    def closed(self) -> Sequence[Mapping[str, str]]:
        """The port for nodes that should be open and is not: what, why, fix."""

    def process_figures(self) -> Mapping[str, float]:
        """Figures of this process and its disk, by name; unknown ones are left out."""

    def rotate_key(self, by: str) -> None:
        """A new key for the coordinator; nodes learn it at their next bring-up."""

    def after_reboot(self) -> str:
        """How it starts after a reboot, in words."""

    def stay_down(self) -> None:
        """Nothing starts it again by itself; for one that was told to end, or whose home is gone."""

    def start(self) -> None:
        """Redis, depot server, links, a new epoch. UnavailableError, ConfigError with the fix."""

    def mend(self, failed: bool) -> str:
        """Start our own Redis again if it died; `failed`: it cannot be used, so let the nodes in anew too.

        Says what was done, or nothing. UnavailableError when it cannot be mended now.
        """

    def stop(self, stop_valkey: bool) -> None:
        """The coordinator's last word, then links, then (if asked) our own Valkey. Idempotent."""


class Ear:
    """Hears the bell on one event loop. `run`: it hears that output of this run has grown, too."""

    def __init__(self) -> None:
        self.run = ""
        self._loop, self._rung = asyncio.get_running_loop(), asyncio.Event()

    def hear(self) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # that loop has ended, and its waiter with it
            self._loop.call_soon_threadsafe(self._rung.set)

    def forget(self) -> None:
        """What rang before this is looked at now."""
        self._rung.clear()

    async def wait(self, timeout_s: float) -> None:
        """Until it has rung since `forget`, or the time is over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), timeout_s)


class Bell:
    """Rung from any thread when something may have changed; waited for on the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ears: set[Ear] = set()
        self.count = 0
        """Read it before looking, hand it to `wait`: nothing is missed in between. Output does not count."""

    def ring(self) -> None:
        with self._lock:
            self.count += 1
            ears = list(self._ears)
        for ear in ears:
            ear.hear()

    def grown(self, run: str) -> None:
        """Output of this run has come: only those hear it who read it."""
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
        """Until the bell has rung since `seen`, or the time is over; whether it has rung."""
        with self.listening() as ear:
            if self.count == seen:
                await ear.wait(timeout_s)
        return self.count != seen


class Nudges:
    """Turns that are asked for while one has not begun yet are that one: it will see every change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = False

    def take(self) -> bool:
        """Whether the caller has to make the turn; then it calls `begun` under the core's lock."""
        with self._lock:
            first, self._waiting = not self._waiting, True
            return first

    def begun(self) -> None:
        """A change from now on needs another round."""
        with self._lock:
            self._waiting = False


@dataclass(slots=True)
class RoundTrouble:
    """The error of Redis or the ledger that stops the rounds now; written by their thread alone."""

    now: PancodeError | None = None

    def shape(self) -> dict[str, str] | None:
        """For faces; None while all is well."""
        found = self.now
        return None if found is None else {"what": str(found), "why": found.why, "fix": found.fix}


@dataclass(frozen=True, slots=True)
class ApiContext:
    """Handed to every route. `facts`: pid, version, home, since ... of this process."""

    coordinator: CoordinatorApi
    facts: dict[str, Any]
    shutdown: Callable[[str], None]
    """Told by whom; by nobody where it ends because its home is gone."""
    loopback: Callable[[], str] | None = None
    """Opens the API on loopback for a browser, and says where; OSError where it cannot."""
    bell: Bell = field(default_factory=Bell)
    closing: threading.Event = field(default_factory=threading.Event)
    nudges: Nudges = field(default_factory=Nudges)
    trouble: RoundTrouble = field(default_factory=RoundTrouble)
    closed: list[dict[str, str]] = field(default_factory=list)
    """The ports that should be open and are not: what, why, fix."""

    def __post_init__(self) -> None:
        self.core.feed.listen(self.bell.ring)
        self.coordinator.streams.listeners.append(self.bell.grown)

    @property
    def core(self) -> Core:
        return self.coordinator.core

    def project_of(self, cwd: str | None) -> str | None:
        """Top of the repository in which somebody stands who asks; None outside of one."""
        return None if cwd is None else self.coordinator.around({}).project_of(cwd)

    def known(self, query: Mapping[str, str]) -> dict[str, str]:
        """The filters of a request. NotFoundError where one names what nothing is called."""
        agents = self.coordinator.around({}).agents(None) if "agent" in query else {}
        return filters(self.core, query, agents)

    def poke(self) -> None:
        """Act on a change now instead of at the next round; changes of one moment share a turn.

        Raises nothing: the change is made, and what fails here the next round does.
        """
        if not self.nudges.take():
            return
        with self.core.lock:
            self.nudges.begun()
            try:
                act(self.core)
            except (UnavailableError, ConfigError):  # the loop tells, and mends
                pass
            except Exception:
                log.exception("a change was made, and could not be acted upon at once")
        self.bell.ring()
