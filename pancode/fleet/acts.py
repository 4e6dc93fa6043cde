"""Values for operations on nodes: the request, the progress of each step, and the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pancode.kernel.states import GpuRule


@dataclass(frozen=True, slots=True)
class Caller:
    """The user who makes a request: bring-up uses this user's SSH agent and configuration for this call only.
    `environ`: HOME, SSH_AUTH_SOCK and the like. `by`: the user's name, for the record."""

    by: str
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def agent(self) -> str | None:
        """Return the socket of the user's SSH agent."""
        return self.environ.get("SSH_AUTH_SOCK")


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node as given to `node add`. None: use the SSH configuration of the alias `name`."""

    name: str
    host: str | None = None
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    slots: int | None = None
    least: int | None = None
    """The number of slots to which the node reduces itself under load; None: it always uses all."""
    fingerprint: str | None = None
    """The host key that the user has accepted; None: the user has not been asked yet."""
    fleet_key: bool = False
    """Install the fleet's own key on the node, so that the link can reconnect while no user is present."""
    local: bool = False
    """Add this machine, without a system sshd. `local_home`: a different HOME for it (demo)."""
    local_home: str | None = None
    node_home: str | None = None
    """The node agent's folder on the node, an absolute path; None: ~/.pancode-node of its login."""


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A change to the settings given to `node add`. `slots` None: `slots` and `least` remain as they are."""

    slots: int | None = None
    least: int | None = None
    gpus: GpuRule | None = None
    """Which runs get the node's GPUs; None: unchanged."""
    labels: Mapping[str, str] = field(default_factory=dict)
    unlabel: tuple[str, ...] = ()


ProgressState = Literal["started", "done", "failed", "skipped", "note"]


@dataclass(frozen=True, slots=True)
class ProgressLine:
    """The progress of one step on one node during a long call."""

    node: str
    step: str
    state: ProgressState
    text: str = ""
    seconds: float = 0.0


Progress = Callable[[ProgressLine], None]


def ignore_line(line: ProgressLine) -> None:
    """Ignore the progress: a callback for callers that do not show it."""


@dataclass(frozen=True, slots=True)
class NodeResult:
    """The result of a long call for one node. Problems are `{"what", "fix", "weight"}`, also on success."""

    node: str
    ok: bool
    problems: tuple[Mapping[str, str], ...] = ()
    changed: tuple[str, ...] = ()
    seconds: float = 0.0
    again: bool = False
    """Whether a node agent of this fleet was already installed."""

    def news(self) -> NodeResult:
        """Return the result; without notes that have no fix, unless this is the node's first bring-up."""
        problems = tuple(p for p in self.problems if not self.again or p.get("weight") != "note" or p["fix"])
        return replace(self, problems=problems)
