"""Reads the change of a run in progress from its node: at most every ten seconds, while somebody looks."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from urllib.parse import quote

from pancode.fleet.place import Reach
from pancode.fleet.ssh.machines import Machines
from pancode.fleet.ssh.remote import OPEN
from pancode.git.diff import count_lines
from pancode.kernel.errors import ConflictError, UnavailableError, WorkspaceError
from pancode.kernel.records import LeaseState, Run
from pancode.runs.core import Core
from pancode.runs.life.jobs import identity_of
from pancode.runs.views import format_iso, newest_lease

KEPT_MS, MOST_S, MOST_BYTES, MOST_KEPT = 10_000, 8.0, 6 << 20, 20
"""How long an answer is kept, how long a node may take, and the most bytes and answers that are kept."""


@dataclass(frozen=True, slots=True)
class UnfinishedChange:
    """The diff at a moment. `notes`: what it lacks."""

    diff: bytes
    notes: tuple[str, ...]
    at_ms: int

    @property
    def stat(self) -> bytes:
        """Return the numbers of changed lines of each file."""
        return count_lines(self.diff)

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of an answer that say when it was read and what it lacks."""
        notes = {"Pancode-Notes": quote("; ".join(self.notes)[:2_000])} if self.notes else {}
        return {"Pancode-At": format_iso(self.at_ms), **notes}


class UnfinishedChanges:
    """The changes of runs in progress, as their nodes report them. Calls for one run share one reading."""

    def __init__(self) -> None:
        self._kept: dict[str, UnfinishedChange] = {}
        self._locks: dict[str, threading.Lock] = {}

    def read(self, core: Core, machines: Machines, run: Run) -> UnfinishedChange | None:
        """Return the run's change so far; None if no node has the run. WorkspaceError: it has no checkout.
        ConflictError: its node cannot tell. UnavailableError: its node cannot be reached."""
        with core.ports.ledger.transaction() as tx:
            lease = newest_lease(tx, run)
        if lease is None or lease.state is LeaseState.CLOSED:
            return None
        name, node = str(identity_of(lease)), machines.known(lease.node)
        with self._locks.setdefault(name, threading.Lock()):
            found = self._kept.get(name)
            if found is None or core.wall_ms() - found.at_ms >= KEPT_MS:
                found = self._kept[name] = self.ask(machines, Reach.of(node), node.name, name, core.wall_ms())
            for old in list(self._kept)[:-MOST_KEPT]:
                self._kept.pop(old, None)  # another call may have removed it
                self._locks.pop(old, None)
            return found

    def ask(
        self, machines: Machines, reach: Reach, node: str, identity: str, now_ms: int
    ) -> UnfinishedChange:
        """Return the change of an attempt as its node reports it now."""
        argv = ("sh", "-c", OPEN, "pancode", reach.installed_home or "", "change", identity)
        coming = machines.begin(node, lambda remote: remote.run(argv, MOST_S, limit=MOST_BYTES))
        try:
            done = coming.result(MOST_S * 2)
        except TimeoutError as exc:
            coming.cancel()
            fix = f"pancode doctor {node}"
            raise UnavailableError(f"{node} has not answered in {MOST_S * 2:.0f} s", fix=fix) from exc
        if done.status == 2:
            fix = f"pancode fleet up {node}"
            raise ConflictError(f"the node agent on {node} is too old to show a change so far", fix=fix)
        if done.status != 0:
            why = done.stderr.decode("utf-8", "replace").strip().removeprefix("pancode-node: ")
            run = identity.partition(".")[0]
            words = f"the change so far of {run} cannot be read"
            raise WorkspaceError(words, why=why[-500:], fix=f"pancode logs -f {run}")
        head, _, diff = done.stdout.partition(b"\n")
        notes = json.loads(head)["notes"]
        return UnfinishedChange(diff, tuple(str(one) for one in notes), now_ms)
