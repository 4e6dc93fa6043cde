"""Detects two node agents that use one key at once: a cloned machine, or one that was set back in time."""

from __future__ import annotations

from node_agent.wire.node import Heartbeat
from pancode.control.core import Core
from pancode.control.work import unit_of_work
from pancode.core.records import Node
from pancode.fleet.quarantine import shut_out

TWINS = "two machines answer with its key at once: one is a copy of the other, or was set back in time"
MOST_SESSIONS = 16
"""So many of the latest are kept of a node, which may begin as many as it likes."""


def look(core: Core, node: Node, beat: Heartbeat) -> bool:
    """Whether this heartbeat proves it; then the node is quarantined, as either takes the other's work.

    Each start of a node agent is a session of its own, and two of one home never live at once. Proof is that
    each of two has echoed a beat that we sent after the other was heard: no old word that comes again, late
    or from somebody else's hand, can do that.
    """
    if not _is_proof(core, beat):
        return False
    core.live.contacts.sessions.pop(beat.node)  # whom a person lets in again is judged by what is said then
    with unit_of_work(core) as work:
        known = work.tx.get(Node, node.name)
        if known is not None and known.quarantined is None:
            shut_out(work, known, TWINS)
    return True


def _is_proof(core: Core, beat: Heartbeat) -> bool:
    echo, sessions = beat.echo, core.live.contacts.sessions.setdefault(beat.node, {})
    if echo is None or echo.epoch != core.epoch or echo.ms not in core.live.beats.sent:
        return False
    since = sessions.get(beat.session)
    if since is not None:
        return any(other > since and echo.ms > other for other in sessions.values())
    if all(echo.ms > other for other in sessions.values()):
        sessions[beat.session] = core.ports.clock.boot_ms()
        while len(sessions) > MOST_SESSIONS:
            sessions.pop(next(iter(sessions)))
    return False
