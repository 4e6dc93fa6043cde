"""A node as the fleet knows it: its state from its heartbeats, its advice, its isolation and its link. Advice
from a node is only quoted and never used as a `fix`, because users follow a `fix`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from node_agent.wire.model import FleetTime, WireModel
from node_agent.wire.node import Heartbeat, NodeFacts
from node_agent.wire.policy import Isolation
from pancode.kernel.records import Node
from pancode.kernel.values import replace

M = TypeVar("M", bound=WireModel)
MOST_CHARS = 300
"""The most characters of a text from a node inside a sentence of the coordinator."""


def quote_advice(facts: M, node: str) -> M:
    """Return a node's facts in which each advice, at any depth, has the form `NODE says: ...`."""
    changed: dict[str, Any] = {}
    for name in type(facts).model_fields:
        value = getattr(facts, name)
        new = f"{node} says: {value}" if name == "fix" and value else _quote_value(value, node)
        if new is not value:
            changed[name] = new
    return facts.model_copy(update=changed) if changed else facts


def _quote_value(value: Any, node: str) -> Any:
    if isinstance(value, WireModel):
        return quote_advice(value, node)
    if isinstance(value, tuple) and any(isinstance(one, WireModel) for one in value):
        return tuple(_quote_value(one, node) for one in value)
    return value


def in_a_sentence(words: str) -> str:
    """Return a node's text for use inside PanCode's sentence: short, on one line, no control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return line if len(line) <= MOST_CHARS else f"{line[:MOST_CHARS]} ..."


def with_words(why: str, says: str) -> str:
    """Return PanCode's reason, followed by what the node itself reports as the reason."""
    return f"{why} ({says})" if says else why


def separate_advice(data: Any) -> Any:
    """Return a node's report as plain JSON in which the node's advice is moved from `fix` to `says`."""
    if isinstance(data, list):
        return [separate_advice(one) for one in data]
    if not isinstance(data, dict):
        return data
    made = {name: separate_advice(value) for name, value in data.items()}
    return {**made, "fix": "", "says": made["fix"]} if "fix" in made else made


HOLDS: Mapping[Isolation, str] = {
    Isolation.SANDBOX: "other files, the repository, processes, and the network where a run may not use it",
    Isolation.LANDLOCK: "other files, the repository, TCP; not UDP, not sockets; not enough for any safety "
    "level",
    Isolation.OWN_UID: "files of other users; not the repository, not the network; not enough for any "
    "safety level",
    Isolation.NONE: "nothing; limits that a runtime does not enforce itself are only instructions",
}
NOT_KNOWN = "unknown: the node has not reported"


def describe_isolation(isolation: str | None) -> str:
    """Return as text what the isolation in a node's facts keeps from a run; None: not reported."""
    return NOT_KNOWN if isolation is None else HOLDS[Isolation(isolation)]


SHORT_DISK = 1 << 30
"""The free bytes below which a disk is reported as low, together with what uses most of it."""


@dataclass(frozen=True, slots=True)
class Linked:
    """The state of a link: whether it is up, and how often it broke since the coordinator started."""

    up: bool = False
    breaks: int = 0

    def became(self, up: bool, broken: bool) -> Linked:
        """Return the link's next state. `broken`: the link failed; a link that was not up cannot break."""
        return Linked(up, self.breaks + (self.up and broken))


class NodeState(StrEnum):
    """The state of a node in `node ls`. The runs of a silent node are not given up before `lost`."""

    NEW = "new"
    ONLINE = "online"
    SUSPECT = "suspect"
    UNREACHABLE = "unreachable"
    LOST = "lost"
    DRAINING = "draining"
    DRAINED = "drained"
    HALTED = "halted"
    QUARANTINED = "quarantined"
    REMOVED = "removed"
    NOT_CLEANED = "removed, not cleaned"


SILENT = dict.fromkeys(
    (NodeState.SUSPECT, NodeState.UNREACHABLE, NodeState.LOST), ", as it sends no heartbeats"
)
"""Why a node has its state, if it is silent."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A period in which the coordinator could not hear nodes: asleep, frozen, without Redis or not trying."""

    start_ms: int
    length_ms: int

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.length_ms


KEPT_MS = 86_400_000
"""Gaps are deleted this many ms after their end."""


@dataclass(frozen=True, slots=True)
class Reaching:
    """Whether the coordinator tries to reach a node, and past gaps in this; silence in a gap loses no run."""

    trying: bool = True
    """False: its link is stopped, which only a user can repair (a changed host key, a refused login)."""
    halted: bool = False
    """Whether a user has halted the node agent; only a user starts it again."""
    shut_out: bool = False
    """Whether the node has no access to Redis because it filled it; only a user can restore the access."""
    heard_ms: int = 0
    """The coordinator's boot clock at the node's last echo before it lost access to Redis."""
    why: str = ""
    fix: str = ""
    since_ms: int = 0
    """When the current gap began, if there is one."""
    past: tuple[Gap, ...] = ()

    @property
    def idle(self) -> bool:
        return self.halted or self.shut_out or not self.trying

    def became(self, after: Reaching, now_ms: int) -> Reaching:
        """Return the new state `after`, with the past gaps kept."""
        if after.idle == self.idle:
            return after
        if after.idle:
            return replace(after, since_ms=now_ms)
        return replace(after, past=tuple(g for g in self.gaps(now_ms) if now_ms - g.end_ms < KEPT_MS))

    def gaps(self, now_ms: int) -> tuple[Gap, ...]:
        """Return all gaps, including the current one."""
        return (*self.past, Gap(self.since_ms, now_ms - self.since_ms)) if self.idle else self.past


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a node may be silent until each next state, in milliseconds of waking time."""

    ask_ms: int = 15_000
    suspect_ms: int = 30_000
    unreachable_ms: int = 180_000
    lost_ms: int = 900_000

    def scale(self, factor: float) -> Deadlines:
        """Return all deadlines, multiplied by a factor (for tests)."""
        fields = (self.ask_ms, self.suspect_ms, self.unreachable_ms, self.lost_ms)
        return Deadlines(*(max(1, int(ms * factor)) for ms in fields))


@dataclass(frozen=True, slots=True)
class LastHeartbeat:
    """The newest authenticated heartbeat of a node."""

    heartbeat: Heartbeat
    inventoried: str = ""
    """The nonce of the connection on which the node's inventory has arrived."""
    echo_ms: int | None = None
    """The coordinator's boot clock at its newest heartbeat that the node has echoed, since the coordinator's
    start.

    It is kept after a heartbeat without an echo (from a node agent that restarted) and after a change of the
    epoch, as neither makes a node silent that was just heard.
    """


@dataclass(frozen=True, slots=True)
class NodeView:
    """The state of a node that decisions about it use."""

    node: Node
    state: NodeState
    silent_ms: int | None
    """Waking ms since the newest echoed heartbeat was sent; None if nothing was heard in this epoch."""
    last: LastHeartbeat | None
    answers: bool
    """Whether the node's request for work is still valid, so that work may be bound to the node."""
    given_up: bool = False
    """Whether the node was silent for the whole deadline, whatever state is shown; its runs are lost."""
    opens_home: frozenset[Isolation] = frozenset()
    """The isolations with which a run there could read the coordinator's home; empty: on another machine."""


@dataclass(frozen=True, slots=True)
class OwnMachine:
    """The machine of the coordinator, as the heartbeats of a node there describe it, and its home."""

    boot_id: str = ""
    hostname: str = ""
    home: str = ""

    def opens_home(self, node: Node, last: LastHeartbeat | None) -> frozenset[Isolation]:
        """Return the value for the view of a node. Containers on one machine have names of their own."""
        told = None if last is None else (last.heartbeat.boot_id, last.heartbeat.facts.hostname)
        if not node.target.get("local") and told != (self.boot_id, self.hostname):
            return frozenset()
        shown = self.home.startswith(SHOWN_BY_LANDLOCK)
        return frozenset({Isolation.NONE, *((Isolation.LANDLOCK,) if shown else ())})


SHOWN_BY_LANDLOCK = ("/usr/", "/bin/", "/sbin/", "/lib", "/etc/", "/proc/")
"""The folders of the system, which a run with Landlock may read."""


def gpu_labels(facts: NodeFacts | None) -> dict[str, str]:
    """Return the labels that a node gets because of its GPUs; empty without facts or GPUs."""
    gpus = () if facts is None else facts.gpus
    if not gpus:
        return {}
    largest = max(gpus, key=lambda one: one.memory)
    return {
        "gpu": f"{largest.memory / 2**30:.0f}g",
        "gpu.count": f"{len(gpus)}",
        "gpu.name": gpu_name(largest.name),
    }


def gpu_name(name: str) -> str:
    """Return the short name of a GPU for a label: H100 for `NVIDIA H100 80GB HBM3`."""
    words = [word for word in name.split() if word not in _GPU_WORDS and not _GPU_SIZE.fullmatch(word)]
    return "-".join(re.findall(r"[A-Za-z0-9.]+", " ".join(words)))[:60] or "unknown"


_GPU_WORDS = {
    "NVIDIA",
    "AMD",
    "GeForce",
    "Tesla",
    "Quadro",
    "Radeon",
    "HBM2",
    "HBM2e",
    "HBM3",
    "HBM3e",
    "Graphics",
}
_GPU_SIZE = re.compile(r"\d+GB")


def labels_of(view: NodeView) -> dict[str, str]:
    """Return the node's labels: those from its GPUs, overridden by those that its owner has set."""
    facts = view.last.heartbeat.facts if view.last is not None else None
    return {**gpu_labels(facts), **view.node.labels}


def has_label(view: NodeView, key: str, value: str) -> bool:
    """Whether the node has the label, from its owner or from its GPUs."""
    facts = view.last.heartbeat.facts if view.last is not None else None
    return value in (view.node.labels.get(key), gpu_labels(facts).get(key))


def awake_since(since_ms: int, now_ms: int, gaps: Sequence[Gap]) -> int:
    """Return the milliseconds from `since_ms` to `now_ms` outside the gaps, which may overlap."""
    if not gaps:
        return max(0, now_ms - since_ms)
    waking, at = 0, since_ms
    for gap in sorted(gaps, key=lambda g: g.start_ms):
        waking += max(0, min(gap.start_ms, now_ms) - at)
        at = max(at, gap.end_ms)
    return waking + max(0, now_ms - at)


def measure_silence(
    newest: LastHeartbeat | None, epoch: int, now_ms: int, started_ms: int, gaps: Sequence[Gap]
) -> tuple[int, bool]:
    """Return the waking ms since the node was last heard, and whether it was heard since `started_ms`."""
    echo = newest.heartbeat.echo if newest else None
    last = newest.echo_ms if newest else None
    if last is None and echo is not None and echo.epoch == epoch:
        last = echo.ms
    if last is None:
        return awake_since(started_ms, now_ms, gaps), False
    return awake_since(min(last, now_ms), now_ms, gaps), True


def state_of(node: Node, silent_ms: int, ever: bool, busy: bool, limits: Deadlines) -> NodeState:
    """Return the node's state to show, before `halted` and `lost` apply; a silent node's drain is hidden."""
    if node.removed is not None:
        return NodeState.REMOVED if node.removed == NodeState.REMOVED else NodeState.NOT_CLEANED
    if node.tag is None:
        return NodeState.NEW
    if silent_ms >= limits.unreachable_ms:
        return NodeState.UNREACHABLE
    if not ever or silent_ms >= limits.suspect_ms:
        return NodeState.SUSPECT
    if node.draining is not None:
        return NodeState.DRAINING if busy else NodeState.DRAINED
    return NodeState.ONLINE


REACHED = Reaching()
_SETTLED = (NodeState.NEW, NodeState.REMOVED, NodeState.NOT_CLEANED)


@dataclass(frozen=True, slots=True)
class Listening:
    """The time since the coordinator's start, and the gaps in which it did not listen."""

    started_ms: int
    gaps: tuple[Gap, ...] = ()
    last_ms: int = 0

    def known_until(self, now_ms: int) -> int:
        """Return until when silence is known: the last check, as this process may have been frozen since."""
        return min(now_ms, self.last_ms or now_ms)

    def looked(self, now_ms: int, tolerance_ms: int, reached: bool) -> Listening:
        """Return the value after a check of Redis: a pause over the tolerance or a failed check is a gap."""
        pause = now_ms - self.last_ms
        if reached and pause <= tolerance_ms:
            return replace(self, last_ms=now_ms)
        kept = tuple(g for g in self.gaps if now_ms - g.end_ms < KEPT_MS)
        gap = Gap(self.last_ms, pause)
        if kept and kept[-1].end_ms == gap.start_ms:
            gap = Gap(kept[-1].start_ms, kept[-1].length_ms + pause)
            kept = kept[:-1]
        return replace(self, last_ms=now_ms, gaps=(*kept, gap))


def build_view(
    node: Node,
    newest: LastHeartbeat | None,
    now: FleetTime,
    watch: Listening,
    limits: Deadlines,
    reaching: Reaching = REACHED,
) -> NodeView:
    """Return the view of one node on which decisions are based, from facts of one moment."""
    began_ms = max(watch.started_ms, reaching.heard_ms)
    silent_ms, ever = measure_silence(newest, now.epoch, now.ms, began_ms, watch.gaps)
    # Binding work depends on how long the node was silent; giving up runs, on how long it could be heard.
    looked_ms, gaps = watch.known_until(now.ms), (*watch.gaps, *reaching.gaps(now.ms))
    missed_ms, _ = measure_silence(newest, now.epoch, looked_ms, began_ms, gaps)
    busy = bool(newest and newest.heartbeat.ask.open)
    state = state_of(node, silent_ms, ever, busy, limits)
    if state not in _SETTLED:
        state = NodeState.LOST if missed_ms >= limits.lost_ms else state
        state = NodeState.HALTED if reaching.halted else state
        state = NodeState.QUARANTINED if node.quarantined is not None else state
    echo = newest.heartbeat.echo if newest else None
    fresh = ever and silent_ms <= limits.ask_ms and echo is not None and echo.epoch == now.epoch
    inventoried = newest is not None and newest.inventoried == newest.heartbeat.nonce
    answers = fresh and inventoried and state is NodeState.ONLINE and node.paused is None
    given_up = node.tag is not None and missed_ms >= limits.lost_ms
    return NodeView(node, state, silent_ms if ever else None, newest, answers, given_up)


def skew_ms(theirs: int, before: int, after: int) -> int:
    """Return the least error, in ms, that another clock must have if it was read between two readings of this
    clock. The time that the request and the answer take is not an error."""
    return min(max(0, theirs - after), theirs - before)


def skew_within(known: float | None, low: float, high: float) -> float | None:
    """Return an earlier clock error, corrected by newer bounds; None while there is no sign of an error."""
    if known is None and low <= 0 <= high:
        return None
    return round(min(max(known or 0.0, low), high), 1)
