"""Acts on machines as values: what is asked for, each step as it goes, the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pancode.kernel.states import GpuRule


@dataclass(frozen=True, slots=True)
class Caller:
    """The user who asks: bring-up uses this user's SSH agent and configuration, for this call only.

    `environ`: HOME, SSH_AUTH_SOCK and the like. `by`: the user's name, for the record.
    """

    by: str
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def agent(self) -> str | None:
        """The socket of the user's SSH agent."""
        return self.environ.get("SSH_AUTH_SOCK")


LinkWay = Literal["ssh", "direct"]
"""How a node is linked to Redis and the depot: by a tunnel through SSH, or directly by TLS."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A machine as `node add` names it. None: what the SSH configuration says for the alias `name`."""

    name: str
    host: str | None = None
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    slots: int | None = None
    least: int | None = None
    """How few of the slots the node fills when the machine is strained; None: always all of them."""
    fingerprint: str | None = None
    """The host key that the user has seen and accepted; None: the user was not asked yet."""
    fleet_key: bool = False
    """Put the fleet's own key on the machine, so that the link comes back while no user is there."""
    link: LinkWay = "ssh"
    """The machine's link to Redis and the depot."""
    local: bool = False
    """Add this machine, without a system sshd. `local_home`: another HOME for it (demo)."""
    local_home: str | None = None
    node_home: str | None = None
    """The node agent's folder on the machine, an absolute path; None: ~/.pancode-node of its login."""


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A change of what `node add` said. `slots` None: `slots` and `least` stay as they are."""

    slots: int | None = None
    least: int | None = None
    gpus: GpuRule | None = None
    """Which runs get its GPUs; None: as before."""
    labels: Mapping[str, str] = field(default_factory=dict)
    unlabel: tuple[str, ...] = ()


ProgressState = Literal["started", "done", "failed", "skipped", "note"]


@dataclass(frozen=True, slots=True)
class ProgressLine:
    """The progress of one step on one node, in a long call."""

    node: str
    step: str
    state: ProgressState
    text: str = ""
    seconds: float = 0.0


Progress = Callable[[ProgressLine], None]


def ignore_line(line: ProgressLine) -> None:
    """A progress callback for a caller that does not follow the progress."""


@dataclass(frozen=True, slots=True)
class NodeResult:
    """The result of a long call for one node. Problems are `{"what", "fix", "weight"}`, also on success."""

    node: str
    ok: bool
    problems: tuple[Mapping[str, str], ...] = ()
    changed: tuple[str, ...] = ()
    seconds: float = 0.0
    again: bool = False
    """Whether a node agent of this fleet was there before."""

    def news(self) -> NodeResult:
        """Leave out a note that nobody can act on, unless this is the node's first bring-up."""
        problems = tuple(p for p in self.problems if not self.again or p.get("weight") != "note" or p["fix"])
        return replace(self, problems=problems)
