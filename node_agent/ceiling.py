"""Decides what the owner of this node allows at most; no order can raise it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from node_agent.wire.model import RepoId, WireModel
from node_agent.wire.order import Order
from node_agent.wire.policy import Safety

_RANK = {Safety.SUGGEST: 0, Safety.AUTO_EDIT: 1, Safety.FULL_AUTO: 2}


class Ceiling(WireModel):
    """The owner's file `ceiling.json`. None: no such limit. `closed`: nothing is allowed, and why."""

    safety: Annotated[Safety, Field(strict=False)] = Safety.FULL_AUTO
    repositories: tuple[RepoId, ...] | None = None
    runtimes: tuple[str, ...] | None = None
    closed: str = ""

    def forbids(self, order: Order) -> str | None:
        """Why the order goes beyond it; None when it does not."""
        if self.closed:
            return self.closed
        if _RANK[order.safety] > _RANK[self.safety]:
            return f"safety {order.safety} is above this node's ceiling {self.safety}"
        if self.runtimes is not None and order.runtime not in self.runtimes:
            return f"runtime {order.runtime} is not among those that this node's owner allows"
        repo = order.workspace.repo
        if self.repositories is not None and repo is not None and repo not in self.repositories:
            return f"repository {repo} is not among those that this node's owner allows"
        return None


def read_ceiling(path: Path) -> Ceiling:
    """The owner's file. No file: no ceiling. One that cannot be read closes the node: it meant something."""
    try:
        return Ceiling.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Ceiling()
    except (OSError, ValidationError) as exc:
        first = str(exc).splitlines()[0]
        return Ceiling(closed=f"the owner's file {path} cannot be read: {first}")
