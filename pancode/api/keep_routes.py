"""The route that shows what old runs take of the disks, and lets go of it."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from pancode.access.rights import REMOVES
from pancode.api.context import ApiContext
from pancode.api.request.bodies import ActBody
from pancode.api.routing import ApiCall, Verb
from pancode.code.retention import carry_out, planned
from pancode.control.core import Core
from pancode.core.records import Node
from pancode.life.retention import RunFiles


class CollectBody(ActBody):
    """`dry_run`: only say what would go."""

    dry_run: bool = False


class RoomRow(TypedDict):
    """Bytes on the disk of a machine; `node` null: of the coordinator's home."""

    node: str | None
    what: str
    bytes: int


class KeptFilesRow(TypedDict):
    """So many old runs keep their files, and why."""

    runs: int
    why: str


class CollectAnswer(TypedDict):
    """`changes`, `logs`: of so many runs they go. `young`: so many runs are not old enough yet.

    `freed`: bytes; commits give their room back two weeks later.
    """

    changes: int
    logs: int
    young: int
    kept: list[KeptFilesRow]
    freed: int
    room: list[RoomRow]


def _collect(context: ApiContext, call: ApiCall) -> Any:
    core, files = context.core, context.coordinator.kept_files
    plan, before = planned(core, files), files.sizes()
    if not call.body.dry_run:
        carry_out(core, files, plan, call.body.by)
    after = before if call.body.dry_run else files.sizes()
    here: list[RoomRow] = [{"node": None, "what": what, "bytes": size} for what, size in after.items()]
    return {
        "changes": plan.count(RunFiles.CHANGES),
        "logs": plan.count(RunFiles.LOGS),
        "young": plan.young,
        "kept": [{"runs": runs, "why": need.value} for need, runs in plan.kept.items()],
        "freed": max(0, sum(before.values()) - sum(after.values())),
        "room": here + _of_nodes(core),
    }


def _of_nodes(core: Core) -> list[RoomRow]:
    """As each node has told it last."""
    with core.ports.ledger.transaction() as tx:
        nodes = [node for node in tx.find(Node) if node.removed is None]
    beats = [(node.name, core.view_of(node).last) for node in nodes]
    return [
        {"node": name, "what": one.what, "bytes": one.bytes}
        for name, beat in beats
        if beat is not None
        for one in beat.heartbeat.facts.room
    ]


KEEP_VERBS: tuple[Verb, ...] = (
    Verb("POST", "/v1/gc", _collect, CollectBody, right=REMOVES, answers=CollectAnswer),
)
