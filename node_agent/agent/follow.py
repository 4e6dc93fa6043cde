"""Uploads the output of running agents while they run, so that logs can be followed. Best effort."""

from __future__ import annotations

from node_agent.attempt.plans import STREAMS
from node_agent.attempt.ports import DepotLink, JournalPort, LinkDown, StepFailed
from node_agent.wire.identity import AttemptId, Mark

_WRITING = (Mark.SPAWNED, Mark.COMMITTED)


class Follower:
    """Bytes that it misses come with the upload at the end."""

    def __init__(self, journal: JournalPort, depot: DepotLink) -> None:
        self._journal, self._depot = journal, depot
        self._sizes: dict[tuple[AttemptId, str], int] = {}

    def turn(self) -> None:
        """One look at every running attempt. A link that is down ends the turn."""
        writing = [entry.identity for entry in self._journal.live() if entry.mark in _WRITING]
        self._sizes = {key: size for key, size in self._sizes.items() if key[0] in writing}
        for identity in writing:
            for name in STREAMS:
                try:
                    self._send(identity, name)
                except LinkDown:
                    return
                except (StepFailed, OSError, KeyError):
                    continue

    def _send(self, identity: AttemptId, name: str) -> None:
        path = self._journal.folder(identity) / name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return
        if size != self._sizes.get((identity, name), 0):
            self._depot.follow(identity, name, path)
            self._sizes[(identity, name)] = size
