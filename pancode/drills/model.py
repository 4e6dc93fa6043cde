"""The values of a drill: faults, what is seen of a fleet, the rows of the report, and the signed report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Protocol

from pydantic import Field

from node_agent.wire.model import MOST
from node_agent.wire.signing import Message

MARK = "# pancode drill "
"""The first line of the task of each run of a drill begins with this text."""
MOST_ROWS, MOST_TEXT = 1_000, 2_000


class Fault(StrEnum):
    """The faults of a drill, in their order."""

    LINK = "link"
    AGENT = "node agent"
    SHIM = "shim"
    COORDINATOR = "coordinator"
    REDIS = "redis"
    RESTORE = "restore"


OF_NODES = (Fault.LINK, Fault.AGENT, Fault.SHIM)
"""The faults that are injected into one node; the others concern the whole fleet."""


@dataclass(frozen=True, slots=True)
class RunSeen:
    """A run of the drill. `failed`: its attempts that ended badly; `outcome`: None until it has ended."""

    is_working: bool
    outcome: str | None
    failed: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """The fleet at one moment. `coordinator`, `redis`: process ids; None: it does not run. `sessions`: of the
    nodes, each new at a start of the node agent. `heartbeats`: the number of each node's last one. `is_well`:
    the coordinator reports no trouble, and all nodes are online and linked. `run`: the fault's first."""

    coordinator: int
    redis: int | None
    sessions: tuple[str | None, ...]
    heartbeats: tuple[int | None, ...]
    is_well: bool
    run: RunSeen


def list_faults(nodes: Sequence[str]) -> list[tuple[Fault, str]]:
    """Return the faults of a drill of these nodes in order, each with its node; empty: the whole fleet."""
    of_nodes = [(fault, node) for node in nodes for fault in OF_NODES]
    return [*of_nodes, *((fault, "") for fault in Fault if fault not in OF_NODES)]


Millis = Annotated[int, Field(ge=0, le=MOST)]
Text = Annotated[str, Field(max_length=MOST_TEXT)]


class DrillRow(Message):
    """What one fault did. `node`: empty for a fault of the whole fleet. `injected_ms`: 0 if it was not
    injected. `noticed_ms`, `recovered_ms`: after the injection; None: not in time. `lost`: runs without their
    effect; `doubled`: effects beyond the first. `skipped`: why the fault was not injected; `problem`: why the
    row is not good."""

    fault: Fault = Field(strict=False)
    node: Text = ""
    injected_ms: Millis = 0
    noticed_ms: Millis | None = None
    recovered_ms: Millis | None = None
    runs: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    lost: Millis = 0
    doubled: Millis = 0
    skipped: Text = ""
    problem: Text = ""

    @property
    def is_good(self) -> bool:
        """Whether the fleet recovered without loss, or the fault was skipped."""
        if self.skipped:
            return True
        return self.recovered_ms is not None and not (self.lost or self.doubled or self.problem)


class DrillReport(Message):
    """The report of a drill, signed with the coordinator's key. Times are Unix ms. `ended_ms`: None while
    the drill is running, or if it was interrupted."""

    drill: Text
    fleet: Text
    by: Text
    pancode: Text
    begun_ms: Millis
    ended_ms: Millis | None = None
    rows: Annotated[tuple[DrillRow, ...], Field(strict=False, max_length=MOST_ROWS)] = ()

    @property
    def is_good(self) -> bool:
        """Whether the drill ended, and each row is good."""
        return self.ended_ms is not None and all(row.is_good for row in self.rows)

    @property
    def verdict(self) -> str:
        """Return `PASS` if the report is good, else `FAILED` or `INTERRUPTED`."""
        return "PASS" if self.is_good else "INTERRUPTED" if self.ended_ms is None else "FAILED"


class DrilledCopies(Protocol):
    """The copies of the fleet that is drilled. Methods raise PancodeError."""

    def list_work(self) -> Mapping[str, str]:
        """Return the copies in progress, each with the command that shows it."""

    def why_not(self) -> str:
        """Return why no copy can be restored, or an empty text."""

    def restore(self) -> int:
        """Restore the newest verified copy into a scratch home, and remove that. Return how many runs from
        before the copy it does not have."""

    def clear(self) -> None:
        """Remove the scratch home, if an earlier drill has left one. ConfigError, with its path, if that
        fails."""


class DrilledFleet(Protocol):
    """The fleet that is drilled. Methods raise PancodeError if the coordinator cannot be reached or
    refuses."""

    def list_work(self) -> Mapping[str, str]:
        """Return what is in progress besides this drill, each with the command that shows it."""

    def begin_run(self, node: str, task: str) -> str:
        """Queue a shell task on the node and return the run's id. Not idempotent."""

    def stop_run(self, run: str) -> None:
        """Stop the run. Idempotent."""

    def look_at_run(self, run: str) -> RunSeen:
        """Return the run."""

    def count_effects(self, run: str, drill: str) -> int:
        """Return how often the attempts of the run have printed the drill's id."""

    def bring_up(self, nodes: Sequence[str]) -> None:
        """Do what `pancode fleet up` does. Idempotent."""

    def look(self, nodes: Sequence[str], run: str) -> Seen:
        """Return the fleet; starts a coordinator if none runs, as any command does."""

    def why_not(self, fault: Fault) -> str:
        """Return why this fault cannot be injected here, or an empty text."""

    def inject(self, fault: Fault, node: str, run: str) -> int | None:
        """Inject the fault. Return after how many ms it was noticed, if that is known already."""

    def restore(self) -> int:
        """Restore the newest verified copy into a scratch home, and remove that. Return how many runs from
        before the copy it does not have."""

    def pause(self, seconds: float) -> None:
        """Wait."""
