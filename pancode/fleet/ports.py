"""The ports to SSH of the fleet's use cases: links that are kept, and actions on each machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pancode.control.faces import NodeResult, Progress, ProgressLine
from pancode.core.records import Node


class MachineAct(StrEnum):
    """An action on a machine."""

    UP = "up"
    """Install, start and hear it; its link is kept from then on."""
    DOWN = "down"
    """End its node agent until a person starts it again; attempts go on."""
    REMOVE = "remove"
    """Take out all that we brought and prove it; one that is away keeps its link, to be cleaned later."""
    CLEANED = "cleaned"
    """As `REMOVE`, when another tool has done that and proven it."""


@dataclass(frozen=True, slots=True)
class LinkNews:
    """A link's new state. `broken`: it went by itself. `trying`: it will come back by itself, perhaps.

    `why` and `fix` are empty where a person need not know. `changed_key`: the host presents another key.
    """

    up: bool
    broken: bool
    trying: bool
    why: str = ""
    fix: str = ""
    changed_key: str = ""


@dataclass(frozen=True, slots=True)
class LinkEvents:
    """Callbacks for links. `contact` and `silent` are called in a thread; `state` must not block."""

    contact: Callable[[str], None]
    """A link came up; and every `tend_ms` while it is up."""
    silent: Callable[[str], bool]
    """ActRequest: whether the node is not heard although it should be."""
    state: Callable[[str, LinkNews], None]


def unwatched(line: ProgressLine) -> None:
    """Nobody follows the progress."""


def nothing(name: str) -> None:
    """Nothing has to be done first."""


@dataclass(frozen=True, slots=True)
class ActRequest:
    """The circumstances of an action. `agent_path`: the SSH agent of the person who asked."""

    progress: Progress = unwatched
    agent_path: str | None = None
    first: Callable[[str], None] = nothing
    """Called with a machine's name when its turn has come, before anything is done there."""


class Hands(Protocol):
    """Links to all machines, and hands on each. Safe from several threads; a call may take minutes."""

    tend_ms: int
    """The interval of the checks of each link that is up."""

    def begin(self, events: LinkEvents) -> None:
        """Look after all links from now on."""

    def close(self) -> None:
        """End all links; node agents and their runs go on."""

    def keep(self, name: str) -> None:
        """Keep a link to the node from now on. Idempotent. PancodeError where it was never brought up."""

    def leave(self, name: str) -> None:
        """Keep it no longer; the node agent goes on. Idempotent."""

    def do(self, act: MachineAct, names: Sequence[str], asked: ActRequest) -> list[NodeResult]:
        """On all at once, but on one machine one command after the other. Idempotent.

        What goes wrong with a machine is that one's result. A command goes on when who gave it has detached:
        the next one would meet it half-way.
        """

    def clean(self, name: str) -> None:
        """Begin to remove one that was removed while it was away, unless a command is at work on it."""

    def admit(self, tag: str) -> str:
        """Let the node into Redis as its own user; returns its password. RefusedError in quarantine."""

    def this_machine(self, used: frozenset[str]) -> Node:
        """This machine, ready for the inventory, under a name that is not taken."""

    def check_direct(self, names: list[str]) -> None:
        """ConfigError where nodes could not come in directly at all."""
