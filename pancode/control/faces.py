"""The verbs that a face may use, and the values of its questions and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, Protocol, TypeVar

from node_agent.wire.identity import AttemptId
from node_agent.wire.policy import Rules
from pancode.agents.agents import Agents
from pancode.agents.presets import Presets
from pancode.agents.request import Defaults, PathFact, Project
from pancode.agents.tiers import ModelTier
from pancode.core.records import Node, Run
from pancode.life.land_values import LandWay

Json = dict[str, Any]
T = TypeVar("T")
ListPlace = tuple[str | int, ...]
"""Where a row stands in a list: the value of its order, and its key."""

MOST_ROWS = 10_000
"""So many rows one list has at most."""
MOST_WORKFLOWS = 1_000
"""So many workflows one list has at most."""
RUN_FILTERS = ("node", "agent", "outcome", "since", "text", "workflow")
"""The words by which a list of runs is filtered."""


@dataclass(frozen=True, slots=True)
class ListPage(Generic[T]):
    """Rows of a list. `last`: the place after which more may come; None: the list ends here."""

    rows: list[T]
    last: ListPlace | None


@dataclass(frozen=True, slots=True)
class Caller:
    """The person who asks: bring-up uses this person's SSH agent and configuration, for that call only.

    `environ`: HOME, SSH_AUTH_SOCK and the like. `by`: the user's name, for the record.
    """

    by: str
    environ: Mapping[str, str] = field(default_factory=dict)


LinkWay = Literal["ssh", "direct"]
"""The link of a node to Redis and the depot: a tunnel, or TLS without one."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A machine as `node add` names it. None: what the SSH configuration says of the alias `name`."""

    name: str
    host: str | None = None
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    slots: int | None = None
    fingerprint: str | None = None
    """The host key that the person has seen and accepted; None: not asked yet."""
    fleet_key: bool = False
    """Put the fleet's own key there, so that the link comes back while nobody is there."""
    link: LinkWay = "ssh"
    """Its link to Redis and the depot."""
    local: bool = False
    """This machine, without a system sshd. `local_home`: another HOME for it (demo)."""
    local_home: str | None = None


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A change of what `node add` has said. `slots` None: as they are."""

    slots: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    unlabel: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostKeyQuestion:
    """A question of the command line before a machine is added. `value`: the body field that says yes."""

    kind: Literal["host_key"]
    text: str
    value: str


@dataclass(frozen=True, slots=True)
class Probed:
    """The target of the alias, the questions, and the notes."""

    target: Json
    questions: tuple[HostKeyQuestion, ...]
    warnings: tuple[str, ...] = ()


ProgressState = Literal["started", "done", "failed", "skipped", "note"]


@dataclass(frozen=True, slots=True)
class ProgressLine:
    """One step of one node of a long call."""

    node: str
    step: str
    state: ProgressState
    text: str = ""
    seconds: float = 0.0


Progress = Callable[[ProgressLine], None]


@dataclass(frozen=True, slots=True)
class NodeResult:
    """The result of a long call for one node. Problems are `{"what", "fix", "weight"}`, also on success."""

    node: str
    ok: bool
    problems: tuple[Mapping[str, str], ...] = ()
    changed: tuple[str, ...] = ()
    seconds: float = 0.0
    again: bool = False
    """A node agent of ours was there before."""

    def news(self) -> NodeResult:
        """A note that nobody can act on is told with the first bring-up and not again."""
        problems = tuple(p for p in self.problems if not self.again or p.get("weight") != "note" or p["fix"])
        return replace(self, problems=problems)


class Streams(Protocol):
    """Delivered logs."""

    def arrived(self, identity: AttemptId, name: str, size: int, sha256: str) -> bool:
        """Whether it is here in full, to its digest."""

    def read(self, identity: AttemptId, name: str, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes from `offset`; empty when there is nothing (yet)."""

    def names(self, identity: AttemptId) -> list[str]:
        """The streams of an attempt that have at least begun to arrive."""


class FleetVerbs(Protocol):
    """Bring-up of machines. Each call may take minutes, tells its steps to `progress`, is idempotent."""

    def probe(self, spec: NodeSpec, caller: Caller) -> Probed:
        """Connect far enough to see the host key; changes nothing. NotFoundError, UnavailableError."""

    def add(self, spec: NodeSpec, caller: Caller) -> Node:
        """Into the inventory, with the accepted host key pinned. ConflictError when the name is taken."""

    def up(
        self, names: Sequence[str], caller: Caller, progress: Progress, link: LinkWay | None = None
    ) -> list[NodeResult]:
        """Install, start and check; no names: all, and this machine where the fleet has none.

        `link`: how they come to Redis and the depot from now on; ConfigError, UsageError if that cannot be.
        """

    def down(self, names: Sequence[str], caller: Caller, progress: Progress) -> list[NodeResult]:
        """Stop the node agents (running attempts belong to their shims and go on)."""

    def remove(self, name: str, caller: Caller, progress: Progress) -> NodeResult:
        """Take out all that we brought and prove it; away: revoked now, cleaned at next contact."""

    def handed(self, name: str, probe: str | None, key: str | None, remove: bool) -> Json:
        """The next steps of a bring-up or removal that another tool carries out on the node.

        `probe`: what our probe said there; None: `{"look"}`, the probe itself. Then `{"steps", "key"}`; with
        `key`, the one that the node has made, it is enrolled. Idempotent. NotFoundError, UsageError,
        UnavailableError for a node that is not fit.
        """

    def cleaned(self, name: str) -> bool:
        """Another tool has taken all of ours off that machine and proven it; whether it is forgotten now.

        Only one that was removed and not cleaned is. Idempotent; any name may be said.
        """

    def let_in(self, names: Sequence[str]) -> None:
        """Give these their users in Redis again, after their release."""

    def trust(self, name: str, fingerprint: str, caller: Caller) -> NodeResult:
        """Pin the changed host key that the person has checked, and enrol the node's key again."""

    def doctor(self, names: Sequence[str], caller: Caller) -> list[Json]:
        """Problems of machines and links: `{"node", "what", "ok", "fix"}`."""


class CodeVerbs(Protocol):
    """The code of runs, in the coordinator's depot. WorkspaceError for all that cannot be done."""

    def preview(self, project: str, folder: str = "", allowed: tuple[str, ...] = ()) -> Json:
        """The content of a snapshot: `{"branch", "head", "changed", "untracked", "warnings"}`; as it, must
        have `folder`.
        """

    def diff(self, run: Run, stat: bool) -> bytes:
        """The run's change against its snapshot as a patch, or as a list of files with counts."""

    def land(self, run: Run, asked: LandWay, wait: bool = True) -> Json:
        """Merge into the user's tree or onto a branch, when its turn has come: `{"status", "files", "gate",
        "recovered"}`, and into which `"tree"` and `"branch"`. `wait` False: `{"status": "waiting", "place"}`.
        """

    def resolve(self, around: Surroundings, run: Run, asked: LandWay) -> Json:
        """Dispatch a run that settles the conflict of this one, and is landed so: the answer to a dispatch.

        UsageError: there is no conflict.
        """

    def landings(self, before_run: Run | None = None) -> list[Json]:
        """The landings that wait or are under way, in order, with their places; or those before a run's."""

    def look_for_reverts(self) -> dict[str, str]:
        """Landed changes that a later commit took back, by run; they are written down."""

    def call_off(self, run: Run) -> list[Json]:
        """Ask landings of this run that are under way or wait to end; how each did. Empty: there is none.

        `queued` is true of one that had not begun.
        """


class NamedPresets(Protocol):
    """Presets by name."""

    @property
    def presets(self) -> Presets:
        """All there are."""

    def origin(self, name: str) -> str:
        """The file and line of an agent's definition."""


class Surroundings(Protocol):
    """The user's configuration and folders, as they are at the moment of the call."""

    def project_of(self, folder: str) -> str | None:
        """Absolute path of the top of the git repository around the folder; None outside of one."""

    def below(self, folder: str, project: str) -> str:
        """The folder relative to the project's top, links followed; empty at the top and outside of it."""

    def agents(self, project: str | None) -> Agents:
        """Agent definitions: built-in, the user's, the project's."""

    def defaults(self, project: str | None) -> Defaults:
        """Settings that a request may leave out. ConfigError names file and key."""

    def project(self, project: str | None) -> Project:
        """The repository's own pancode.yaml. ConfigError names file and key."""

    def rules(self, project: str | None) -> Rules:
        """Safety rules: built-in, the user's, the project's. ConfigError names file, line and rule."""

    def tiers(self, project: str | None) -> dict[str, ModelTier]:
        """The owner's corrections of models' tiers, by pattern."""

    def max_depth(self) -> int:
        """The greatest depth of runs inside runs."""

    def paths(self, task: str, cwd: str | None, project: str | None) -> tuple[PathFact, ...]:
        """Each path that the task names: where it is, links followed, and whether something is there."""

    def presets(self) -> NamedPresets:
        """The shipped presets and the user's. ConfigError names file, line and key."""

    def applied(self) -> str | None:
        """The name of the applied preset."""

    def origins(self, project: str | None) -> list[Json]:
        """Every setting with its value and where that was said: `{"key", "value", "origin"}`."""
