"""Quarantines a machine until a person has looked at it; its running work goes on."""

from __future__ import annotations

from dataclasses import replace

from pancode.control.core import open_fences
from pancode.control.work import Work
from pancode.core.records import Node
from pancode.life.signals import Quarantined


def shut_out(work: Work, node: Node, why: str) -> None:
    """On record first; what it has in flight goes on there, and is told why nothing is heard of it."""
    work.tx.put(replace(node, quarantined=why))
    work.audit("trust", "error", "node quarantined", node=node.name, why=why)
    for fence in open_fences(work.tx, tag=node.tag):
        work.signal_fence(fence, Quarantined(why))
