"""After a restore, names the runs that nodes still know and the restored ledger does not contain."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Collection

from pancode.backups.model import CopyPlace, Place
from pancode.fleet.place import Reach
from pancode.kernel.errors import PancodeError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Node, Run, Setting
from pancode.kernel.row_updates import edit_row
from pancode.kernel.values import replace
from pancode.runs.core import RESTORED, Core
from pancode.runs.unit_of_work import unit_of_work

log = logging.getLogger("pancode.backups")
_ENTRY = re.compile(r"(r-[a-z0-9]{4,32})\.[0-9]+\.[0-9]+")
MOST, MOST_READ = 500, 20_000
"""The most runs that are named, and looked up, per node, which writes its journal itself."""


def name_lost_runs(
    core: Core, place: Place, is_linked: Callable[[str], bool], stopping: threading.Event
) -> None:
    """Ask each node once, when its link is up, which runs its journal has; record in the audit log those that
    the restored ledger does not contain. Does nothing in a ledger that was never restored."""
    for node, home in _nodes_to_ask(core):
        if not is_linked(node):
            continue
        try:
            found = sorted(_runs_of(place(node, stopping), home))[:MOST_READ]
        except PancodeError as error:
            log.info("the journal of %s was not read: %s", node, error.words)
            continue
        lost = list[str]()
        for at in range(0, len(found), MOST):  # short transactions, so that no other one waits
            with core.ports.ledger.transaction() as tx:
                lost += [run for run in found[at : at + MOST] if tx.get(Run, run) is None]
        with unit_of_work(core) as work:
            for run in lost[:MOST]:
                work.audit("fleet", "warning", "lost: a run after the restored copy", run, node=node)
            _note_asked(work.tx, node)


def _nodes_to_ask(core: Core) -> list[tuple[str, str]]:
    """Return name and node home of the nodes that were not asked since the restore."""
    with core.ports.ledger.transaction() as tx:
        restored = tx.get(Setting, RESTORED)
        if restored is None or not isinstance(restored.value, dict):
            return []
        asked, nodes = restored.value.get("asked", []), tx.find(Node)
    reaches = [
        (node.name, Reach.of(node)) for node in nodes if node.removed is None and node.name not in asked
    ]
    return [(name, one.installed_home) for name, one in reaches if one.installed_home and not one.local]


def _runs_of(place: CopyPlace, home: str) -> Collection[str]:
    return {match[1] for name in place.list_journal(home) if (match := _ENTRY.fullmatch(name))}


def _note_asked(tx: Transaction, node: str) -> None:
    def add(row: Setting) -> Setting:
        value = row.value if isinstance(row.value, dict) else {}
        return replace(row, value={**value, "asked": [*value.get("asked", []), node]})

    edit_row(tx, Setting, RESTORED, change=add)
