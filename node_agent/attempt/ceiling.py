"""The most that the owner of this node allows; no order can raise it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from node_agent.runtimes.others import OtherAgent
from node_agent.wire.endpoint import OTHERS
from node_agent.wire.model import RepoId, WireModel
from node_agent.wire.node import Allowed
from node_agent.wire.order import Order
from node_agent.wire.policy import NO_RULES, Rules, Safety

LEAST_MEMORY, LEAST_PROCESSES, LEAST_DISK = 64 << 20, 32, 64 << 20
"""The least limits of bytes, processes and bytes with which a shell and its gateway can still work."""


class CeilingFile(WireModel):
    """The owner's file `ceiling.json`. None: no such limit."""

    safety: Annotated[Safety, Field(strict=False)] = Safety.FULL_AUTO
    repositories: tuple[RepoId, ...] | None = None
    runtimes: tuple[str, ...] | None = None
    memory: int | None = Field(default=None, ge=LEAST_MEMORY)
    """Bytes of memory for one run, all its processes together."""
    processes: int | None = Field(default=None, ge=LEAST_PROCESSES)
    """The most processes of one run, threads included."""
    disk: int | None = Field(default=None, ge=LEAST_DISK)
    """Bytes of disk for one run's checkout and home."""
    acp: dict[Annotated[str, Field(pattern=OTHERS)], OtherAgent] = {}
    """Programs that speak ACP, by the owner's names for them: each is a runtime, `acp:NAME`."""


class Ceiling(CeilingFile):
    """All limits of the owner. `closed`: why nothing is allowed. `rules`: from pansafety.yaml beside it."""

    closed: str = ""
    rules: Rules = NO_RULES

    def forbids(self, order: Order) -> str | None:
        """Return the reason why the order goes beyond the ceiling; None when it does not."""
        return self.told().beyond(order.safety, order.runtime, order.workspace.repo) or None

    def told(self) -> Allowed:
        """Return the ceiling as the coordinator gets it, so that it offers nothing that is refused here."""
        return Allowed(
            safety=self.safety, repositories=self.repositories, runtimes=self.runtimes, closed=self.closed
        )


NO_CEILING = Ceiling()


def read_ceiling(path: Path) -> Ceiling:
    """Read the owner's file. No file: no ceiling. A file that cannot be read closes the node to all runs."""
    try:
        parsed = CeilingFile.model_validate_json(path.read_bytes())
        return Ceiling(**dict(parsed))
    except FileNotFoundError:
        return Ceiling()
    except (OSError, ValidationError) as exc:
        first = str(exc).splitlines()[0]
        return Ceiling(closed=f"the owner's file {path} cannot be read: {first}")


def limits_text(allowed: Allowed) -> str:
    """Return the limits of a ceiling in words for users."""
    parts = [f"safety {allowed.safety}"] if allowed.safety is not Safety.FULL_AUTO else []
    for what, names in (("runtimes", allowed.runtimes), ("repositories", allowed.repositories)):
        parts += [f"{what} {', '.join(names) or 'none'}"] if names is not None else []
    return f"its owner allows at most {'; '.join(parts)}"[:500]
