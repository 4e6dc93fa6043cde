"""Writes lasting settings of the whole fleet: paused queues, draining nodes, breakers, the applied preset."""

from __future__ import annotations

from collections.abc import Sequence

from pancode.fleet import inventory
from pancode.kernel.names import not_found
from pancode.kernel.records import Node, Setting
from pancode.runs.core import Core, hold_lock
from pancode.runs.lists import PAUSED, pause_key, put_setting
from pancode.runs.placement import breaker_service
from pancode.runs.unit_of_work import unit_of_work


@hold_lock
def pause_queue(core: Core, name: str | None, reason: str | None, by: str) -> None:
    """Pause a queue, or (reason None) resume it. `name`: a pool, a node, or the queue of either; None: every
    queue of the fleet. NotFoundError."""
    if name is None:
        return put_setting(core, PAUSED, reason, by)
    with core.ports.ledger.transaction() as tx:
        nodes = [n.name for n in tx.find(Node) if name in (n.name, f"node.{n.tag}")]
        key = pause_key(tx, name) if not nodes else ""
    if nodes:
        inventory.pause(core, nodes[0], reason, by)
    else:
        put_setting(core, key, reason, by)


def drain_fleet(core: Core, names: Sequence[str], reason: str | None, by: str) -> list[str]:
    """Drain these nodes, or (reason None) stop draining them. No names: all nodes, and no runs are admitted
    to the fleet. Returns the names of the nodes."""
    if not names:
        put_setting(core, "draining", reason, by)
    meant = list(names) or inventory.list_names(core)
    for name in meant:
        inventory.drain(core, name, reason, by)
    return meant


@hold_lock
def reset_breaker(core: Core, name: str, by: str) -> None:
    """Close a circuit breaker, so that earlier failures no longer count. NotFoundError."""
    known = breaker_service.list_resettable(core)
    if name not in known:
        raise not_found("breaker", name, known, "pancode admin breakers")
    at = core.wall_ms()
    with unit_of_work(core) as work:
        work.tx.put(Setting(f"{breaker_service.RESET}{name}", "reset", at, by))
        work.audit("people", "info", "breaker reset", None, by=by, breaker=name)
        work.after(lambda: core.live.breaker_resets.__setitem__(name, at))


def record_preset(core: Core, name: str | None, before: str | None, by: str) -> None:
    """Record that a preset was applied; `name` None: that it no longer applies."""
    with unit_of_work(core) as work:
        what = "preset applied" if name is not None else "preset unset"
        work.audit("config", "info", what, None, preset=name, before=before, by=by)
