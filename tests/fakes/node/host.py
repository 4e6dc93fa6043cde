"""A machine in memory: processes that follow a script, and checkouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from node_agent.attempt.ports import Activity
from node_agent.shim.spool import ExitRecord, PhasePlan
from node_agent.wire.clock import Clock
from node_agent.wire.identity import AttemptId
from node_agent.wire.policy import CallAsked


@dataclass(frozen=True, slots=True)
class Script:
    """What an attempt does on a MemoryHost. Durations in milliseconds of the clock's `mono_ms`."""

    duration_ms: int = 1_000
    exit_code: int | None = 0
    signal: int | None = None
    output: bytes = b'{"answer": "did it", "in": 10, "out": 5, "usd": "0.01"}\n'
    kind: str = "change"
    files: tuple[str, ...] = ("a.txt",)
    stop_ms: int = 0
    """How long it takes to die when asked."""
    setup_code: int = 0
    setup_ms: int = 0
    setup_log: bytes = b""
    setup_files: tuple[str, ...] = ()
    """What set-up leaves in the checkout, and git does not ignore."""
    gate_codes: tuple[int, ...] = ()
    """Exit statuses of the gates, in order; 0 for those not named."""
    gate_ms: int = 100
    beside: tuple[str, ...] = ()
    """The ignored files that its agent leaves."""
    again_code: int = 0
    """The exit status of a gate that is repeated among them."""
    score: bytes = b"3\n"
    """What its score command prints."""
    reports: tuple[tuple[str, bytes], ...] = ()
    """The files that its gates write about themselves."""
    start_fails: bool = False
    commit_fails: bool = False
    missing: tuple[str, ...] = ()
    """The words on files that the result does not hold."""
    tools: tuple[tuple[str, dict[str, bytes] | str], ...] = ()
    """The tools that its agent proposes."""
    question: bytes | None = None
    """What its agent leaves for a user."""
    wrote: str = "changed it all"
    """What is in its file."""
    took_back: str = ""
    """What only a commit on the way has."""
    search_fails: bool | None = None
    """Whether the search for secrets that fails is that of the commits on the way; None: none fails."""


@dataclass(slots=True)
class Phase:
    plan: PhasePlan
    boot: str | None = None
    """None until a shim took the folder."""
    began: int = 0
    began_wall: int = 0
    stop: int | None = None
    """When it was asked to end."""
    gone: bool = False
    ended: ExitRecord | None = None
    stdin: bytes = b""


@dataclass(slots=True)
class MemoryHost:
    """A machine: its processes and files outlive the node agent, but not (the processes) a reboot."""

    clock: Clock
    script: Callable[[AttemptId], Script] = lambda identity: Script()
    boot: str = "boot-1"
    phases: dict[str, Phase] = field(default_factory=dict)
    stops: dict[str, str] = field(default_factory=dict)
    leftovers: dict[str, int] = field(default_factory=dict)
    """How many processes an attempt has left behind that nobody watches over."""
    taken: set[str] = field(default_factory=set)
    """Attempts whose folders later ones use."""
    activity: Activity = field(default_factory=Activity)
    """What a look at any phase sees."""
    trees: dict[str, bool] = field(default_factory=dict)
    """Checkout by attempt; True once an agent worked in it."""
    aside: set[str] = field(default_factory=set)
    """Attempts whose gates have a checkout of their own."""
    ports: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Reserved ports by attempt."""
    mirrored: set[str] = field(default_factory=set)
    """Attempts whose snapshot is on this machine."""
    copied: dict[str, dict[str, bytes]] = field(default_factory=dict)
    words: dict[str, dict[str, str]] = field(default_factory=dict)
    """What a user has said to it while it works, by attempt and number."""
    calls: dict[str, list[CallAsked]] = field(default_factory=dict)
    """The questions that programs of an attempt have written."""
    answers: dict[tuple[str, str], bytes] = field(default_factory=dict)
    stored: set[tuple[str, str | None]] = field(default_factory=set)
    patient: set[str] = field(default_factory=set)
    """Phases whose idle limit waits for a user."""
    set_up: set[str] = field(default_factory=set)
    """Attempts whose checkout has what set-up leaves."""
    lockfile: str | None = "1"
    """What every repository here has as its lockfile."""
    absent: set[str] = field(default_factory=set)
    """Programs that are nowhere."""
    cache: dict[str, int] = field(default_factory=dict)
    """Keys of kept set-ups, and when each was used last."""
    logs: dict[str, bytes] = field(default_factory=dict)
    """What was written to set-up's logs, by path."""
    baselines: dict[str, str] = field(default_factory=dict)
    """What was taken down of them, by attempt."""
    homes: dict[str, dict[str, bytes]] = field(default_factory=dict)
    kept_homes: dict[str, dict[str, bytes]] = field(default_factory=dict)
    lent: dict[str, dict[str, bytes]] = field(default_factory=dict)
    spawns: list[str] = field(default_factory=list)
    """Every start of anything, by folder: what must never hold one twice."""
    forgotten: set[str] = field(default_factory=set)
    """Phases whose plan was taken back."""
    guide: str | None = None
    """What every repository here says to agents."""
    salvaged: list[str] = field(default_factory=list)
    results: dict[str, int] = field(default_factory=dict)
    """When the result of an accepted attempt was kept, by attempt."""
    owners: dict[str, int] = field(default_factory=dict)
    """To whom the files of an attempt were handed over."""
    full: bool = False
    torn: set[str] = field(default_factory=set)
    """Phases whose plan or output, and attempts whose files, a power cut took: nobody had synced them."""
    built_on_torn: list[str] = field(default_factory=list)
    """Phases that were started from such a plan or on such files, and attempts of which copies were kept."""

    def power_cut(self) -> None:
        """A reboot that takes what the page cache held: of plans, of outputs, and of checkouts."""
        self.reboot()
        self.torn.update(self.phases)
        self.torn.update(self.trees)

    def reboot(self) -> None:
        """Every process is gone, what they wrote is whole."""
        self.boot = f"boot-{int(self.boot.rpartition('-')[2]) + 1}"

    def kill_shims(self) -> None:
        """Every shim dies without a word."""
        for phase in self.phases.values():
            if phase.boot is not None and phase.ended is None:
                phase.gone = True
