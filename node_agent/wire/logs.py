"""The log of the coordinator and of the node agent: JSON lines, or plain lines in a terminal, with one line
for each stage of a job."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TextIO

from node_agent.wire.identity import AttemptId, Mark

VARIABLE = "PANCODE_LOG"
LEVELS = ("debug", "info", "warning", "error")
_JOBS = logging.getLogger("pancode.orders")
_CHATTY = ("asyncssh", "alembic")
_EVERY = "*"


class JobStage(StrEnum):
    """The stages of a job, with the same names in both logs."""

    ACCEPTED = "accepted"
    STARTED = "started"
    ENDED = "ended"
    DELIVERED = "delivered"
    SETTLED = "settled"
    REFUSED = "refused"
    REJECTED = "rejected"
    CLOSED = "closed"


STAGES: dict[str, JobStage] = {
    Mark.ACCEPTED: JobStage.ACCEPTED,
    Mark.SPAWNED: JobStage.STARTED,
    Mark.EXITED: JobStage.ENDED,
    Mark.PUSHED: JobStage.DELIVERED,
    Mark.ACKNOWLEDGED: JobStage.SETTLED,
    Mark.REFUSED: JobStage.REFUSED,
    Mark.REJECTED: JobStage.REJECTED,
}
"""The stages that begin with a mark in the node's journal. Delivered: the coordinator has the results."""


@dataclass(frozen=True, slots=True)
class JobLine:
    """A log line about one job. `duration_ms`: since it was placed (coordinator) or accepted (node agent)."""

    stage: JobStage
    run: str
    attempt: int
    fence: int
    node: str
    duration_ms: int
    detail: str = ""

    @classmethod
    def of(cls, stage: JobStage, identity: AttemptId, node: str, ms: int, detail: str = "") -> JobLine:
        return cls(stage, identity.run, identity.attempt, identity.lease, node, ms, detail)

    def write(self) -> None:
        """Write the line to this process's log."""
        detail = f": {self.detail}" if self.detail else ""
        words = ("%s.%d.%d %s on %s after %d ms%s", self.run, self.attempt, self.fence, self.stage, self.node)
        _JOBS.info(*words, self.duration_ms, detail, extra={"order": asdict(self)})


def _format_utc(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


class JsonFormatter(logging.Formatter):
    """Formats each log entry as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _format_utc(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "order", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class PlainFormatter(logging.Formatter):
    """Formats each log entry as one plain line for a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return _format_utc(record)


def levels_of(text: str) -> tuple[dict[str, int], list[str]]:
    """Return the level of each logger (`*`: all others), and the invalid parts of `text`, which is a list
    such as `info` or `warning,pancode.orders=info`."""
    found, wrong = {_EVERY: logging.INFO}, []
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, _, level = word.rpartition("=")
        if level.lower() in LEVELS:
            found[name.strip() or _EVERY] = getattr(logging, level.upper())
        else:
            wrong.append(word)
    return found, wrong


def set_up(levels: str, stream: TextIO) -> None:
    """Write this process's log to `stream`. `levels`: the value of PANCODE_LOG."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PlainFormatter() if stream.isatty() else JsonFormatter())
    found, wrong = levels_of(levels)
    logging.basicConfig(handlers=[handler], level=found.pop(_EVERY))
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name, level in found.items():
        logging.getLogger(name).setLevel(level)
    for word in wrong:
        logging.getLogger("pancode").warning(
            "%s: %r is not a log level; use %s, or LOGGER=LEVEL", VARIABLE, word, ", ".join(LEVELS)
        )
