"""Fetches the snapshots of jobs to hold, one after another, in parallel to the node agent's passes."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue

from node_agent.attempt.accept import Opened
from node_agent.attempt.journal import Journal
from node_agent.attempt.ports import LinkDown, StepFailed, WorkspacesPort
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.job import Job

Aside = Callable[[Callable[[], None]], None]
"""Runs work that may take long and raises nothing: in another thread or, without one, at once."""
_log = logging.getLogger("pancode.node")


def list_needed(journal: Journal) -> list[Job]:
    """Return the jobs whose snapshot was fetched, according to the journal, and may still be needed."""
    found: list[Job] = []
    for entry in journal.live():
        if entry.mark in (Mark.HELD, Mark.ACCEPTED):
            # The journal's list of problems already contains this error.
            with suppress(OSError, ValueError, KeyError):
                found.append(journal.job(entry.identity))
    return found


class SnapshotQueue:
    """Fetches snapshots. Only in memory: if the node agent dies, the coordinator resends jobs not fetched."""

    def __init__(self, workspaces: WorkspacesPort, aside: Aside) -> None:
        self._workspaces, self._aside = workspaces, aside
        self._due: deque[Opened] = deque()
        self._known: dict[str, Opened] = {}
        """The jobs whose snapshots are requested, by the job's digest."""
        self._over: SimpleQueue[tuple[Opened, bool]] = SimpleQueue()
        self._busy = False

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, opened: Opened) -> None:
        """Fetch the job's snapshot after those that were requested earlier. Idempotent."""
        if opened.digest not in self._known:
            self._known[opened.digest] = opened
            self._due.append(opened)
            self._start_next()

    def drop(self, identity: AttemptId) -> Opened | None:
        """Drop this attempt's job, which is no longer wanted, and return it; None if it was not requested."""
        opened = next((one for one in self._known.values() if one.job.identity == identity), None)
        return None if opened is None else self._known.pop(opened.digest)

    def done(self) -> list[Opened]:
        """Return the jobs whose snapshot was fetched since the last call, in order. Jobs whose snapshot could
        not be fetched are dropped, and the coordinator sends them again."""
        found: list[Opened] = []
        while not self._over.empty():
            opened, is_here = self._over.get()
            found += [opened] if self._known.pop(opened.digest, None) and is_here else []
            self._busy = False
            self._start_next()
        return found

    def _start_next(self) -> None:
        if self._due and not self._busy:
            self._busy = True
            self._aside(partial(self._fetch, self._due.popleft()))

    def _fetch(self, opened: Opened) -> None:
        is_here = False
        try:
            # The snapshot of a dropped job would otherwise never be released.
            if opened.digest in self._known:
                self._workspaces.fetch(opened.job.identity, opened.job.workspace)
                is_here = True
        except LinkDown:
            pass
        except StepFailed:
            is_here = True  # A later try would fail too; the start of the job finds and reports the error.
        except Exception:
            _log.exception("%s: unexpected error while its snapshot was fetched", opened.job.identity)
        finally:
            self._over.put((opened, is_here))
