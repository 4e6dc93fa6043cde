"""The parts of the outcome rule that are the same for every program with a stream of JSON events."""

from __future__ import annotations

from node_agent.runtimes.base import ExitInfo, how_it_ended
from node_agent.runtimes.lines import JsonLines
from node_agent.wire.failure import FailureKind

MAX_DENIALS = 100

_BY_STATUS = {
    400: FailureKind.AGENT_FAILED,
    413: FailureKind.AGENT_FAILED,
    401: FailureKind.MODEL_AUTH,
    403: FailureKind.MODEL_AUTH,
    429: FailureKind.MODEL_BUSY,
    503: FailureKind.MODEL_BUSY,
    529: FailureKind.MODEL_BUSY,
}
REFUSED = frozenset({FailureKind.MODEL_AUTH, FailureKind.MODEL_BUSY})
"""The model server took no request: if it answered nothing before, nothing was used."""


def by_status(status: int) -> FailureKind:
    """What the HTTP status of a model server that ended the run means."""
    return _BY_STATUS.get(status, FailureKind.MODEL_FAILED)


def without_end(end: ExitInfo, lines: JsonLines, known: bool, what: str) -> tuple[FailureKind, str]:
    """The program is gone and never said how it ended; that is a failure whatever its exit status.

    `known`: at least one event was of a kind that its parser knows. `what`: the event that is missing.
    """
    if end.status in (126, 127) and not lines.lines:
        return FailureKind.RUNTIME_MISSING, f"{how_it_ended(end)} without any output"
    if not known:
        return FailureKind.RUNTIME_UNREADABLE, f"{how_it_ended(end)} without one readable event"
    return FailureKind.NO_ANSWER, f"{how_it_ended(end)} without {what}"
