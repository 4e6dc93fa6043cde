"""Limits how much each node stores in Redis, and quarantines a node that exceeds it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pancode.kernel.errors import NotFoundError, RefusedError
from pancode.kernel.quota import NOTHING, too_much, worth_weighing
from pancode.kernel.records import Node
from pancode.runs.core import Core, hold_lock, open_leases
from pancode.runs.nodes import evidence
from pancode.runs.nodes.evidence import shut_out
from pancode.runs.unit_of_work import unit_of_work


def enforce_quota(core: Core) -> None:
    """Quarantine nodes that store too much in Redis. Each check is one cheap command; all keys are measured
    only once Redis has grown enough. This writes nothing to Redis, as a full Redis would refuse it."""
    boot, redis = core.ports.clock.boot_ms(), core.live.redis
    if redis.looked_ms >= 0 and boot - redis.looked_ms < core.rules.quota_look_ms:
        return
    redis.looked_ms = boot
    _keep_out(core)
    used, quota = core.ports.bus.used(), core.rules.node_quota
    redis.weighed = min(redis.weighed, used)
    if worth_weighing(used, redis.weighed, quota):
        kept, nodes = core.ports.bus.weigh(), core.enrolled()
        for tag, node in nodes.items():
            with unit_of_work(core) as work:
                leases = open_leases(work.tx, tag=tag)
                owed = sum(len(lease.job) for lease in leases)
                why = too_much(kept.get(tag, NOTHING), quota, owed)
                if why and node.quarantined is None:
                    shut_out(work, node, why)
            if why:
                core.live.redis.shut_out.discard(tag)
        _keep_out(core)
        redis.weighed = core.ports.bus.used()


def _keep_out(core: Core) -> None:
    """Ensure that nodes in quarantine, and removed ones that owe no receipt, have no user or keys in Redis,
    even after a restart of either side."""
    nodes, owing = core.enrolled(), set[str]()
    if any(node.removed is not None for node in nodes.values()):
        with core.ports.ledger.transaction() as tx:
            owing = {lease.tag for lease in open_leases(tx)}
    for tag, node in nodes.items():
        is_out = node.quarantined is not None or (node.removed is not None and tag not in owing)
        if not is_out or tag in core.live.redis.shut_out:
            continue
        core.ports.bus.expel_node(tag)
        core.live.redis.shut_out.add(tag)
        if node.removed is None:  # the link of a removed node stays, to clean the node
            core.live.contacts.forget(tag)
            last_ms = core.live.contacts.echoed_ms.get(tag, 0)
            core.note_reaching(node.name, partial(replace, shut_out=True, heard_ms=last_ms))


@hold_lock
def let_in(core: Core, tag: str, password: str) -> None:
    """Create or renew the node's Redis user; RefusedError while the node is quarantined."""
    node = core.enrolled().get(tag)
    if node is None:
        raise NotFoundError(f"no node in the fleet has the key {tag}", fix="pancode node ls")
    if node.quarantined is not None:
        raise RefusedError(
            f"{node.name} is quarantined",
            why=node.quarantined,
            fix=f"pancode fleet resume {node.name}",
            code="quarantined",
        )
    core.ports.bus.admit_node(tag, password)
    core.live.redis.shut_out.discard(tag)


@hold_lock
def release_node(core: Core, name: str, by: str) -> bool:
    """End the node's quarantine; return whether it was quarantined. The caller must then call `let_in`."""
    with unit_of_work(core) as work:
        node = work.tx.get(Node, name)
        if node is None or node.quarantined is None:
            return False
        work.tx.put(replace(node, quarantined=None))
        evidence.reset_share(work.tx, node)
        work.audit("trust", "info", "node quarantine ended", node=name, by=by, why=node.quarantined)
    core.live.redis.shut_out.discard(node.tag or "")
    core.note_reaching(name, lambda r: replace(r, shut_out=False))
    return True
