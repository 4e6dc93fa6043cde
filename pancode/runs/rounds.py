"""The coordinator's round: listen to nodes, decide, speak; and how an epoch begins."""

from __future__ import annotations

from pancode.control import keyring, passed_over
from pancode.control.core import Core
from pancode.control.work import unit_of_work
from pancode.core.records import Node
from pancode.dispatch import bind
from pancode.errors import UnavailableError
from pancode.fleet import heartbeats, liveness, quota
from pancode.runs import inbound
from pancode.runs.expiry import lapse
from pancode.runs.tidy import tidy


def start(core: Core) -> None:
    """Begin a new epoch, in which every node hears its settings again; nothing is signed before."""
    with core.lock:
        with unit_of_work(core) as work:
            seen = max((n.epoch_seen for n in work.tx.find(Node)), default=0)
            epoch = core.raise_epoch(seen, work.tx)
            keyring.begin(work.tx, keyring.COORDINATOR, core.fleet, core.key.public, core.wall_ms())
            core.feed.load(work.tx)
        core.enter(epoch)
        with unit_of_work(core) as work:
            work.audit("fleet", "info", "coordinator started", epoch=epoch)
            passed_over.recall(core, work.tx)
            for node in work.tx.find(Node):
                heartbeats.say_settings(work, node)


def listen(core: Core, wait_ms: int) -> bool:
    """Wait, without holding anything up, until a node has written or the time is over."""
    with core.ports.ledger.transaction() as tx:
        tags = [n.tag for n in tx.find(Node) if n.tag is not None]
    return bool(core.ports.bus.read_up(tags, 1, wait_ms))


def turn(core: Core, woken: bool = False) -> int:
    """One round; how many messages came in. UnavailableError while Redis cannot be used.

    `woken`: a message is the reason of this round, so all nodes are looked at only where that is due.
    """
    with core.lock:
        looks = not woken or core.ports.clock.boot_ms() - core.live.beats.watch.last_ms >= core.rules.look_ms
        try:
            quota.enforce(core)
            if looks:
                heartbeats.hear(core)
            messages = inbound.take_in(core, 500)
        except UnavailableError:
            liveness.look(core, reached=False)
            raise
        if looks:
            liveness.look(core, reached=True)
            liveness.judge(core)
        act(core)
        liveness.beat(core)
        _record(core)
        tidy(core)
        lapse(core)
        return messages


def _record(core: Core) -> None:
    """Write what other threads wanted to have on record."""
    waiting = core.live.to_record
    while not waiting.empty():
        level, what, detail = waiting.get()
        with unit_of_work(core) as work:
            work.audit("trust", level, what, None, **detail)


def act(core: Core) -> None:
    """Decide and speak: the part of a round that acts on a change of ours."""
    with core.lock:
        bind.bind(core)
        # before any offer: a node that is back in service must know it before it gets work
        liveness.flush_controls(core)
        bind.push_offers(core)
        bind.show_tickets(core)
