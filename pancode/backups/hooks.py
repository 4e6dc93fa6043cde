"""The coordinator's part for backups: the thread that makes copies on request, at night and after
landings."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pancode.backups import rules
from pancode.backups.answers import BackupBegunAnswer, BackupsAnswer, CopyShape, NodeCopiesShape, OutcomeShape
from pancode.backups.model import CopyRecord, NodeRecord, Place, StoppedError
from pancode.backups.records import CopyRecords
from pancode.backups.sealing import Recipient
from pancode.backups.service import CopyRequest, make_copy
from pancode.backups.snapshot import FoundFile, HomeSnapshot
from pancode.config.schema import BackupSettings
from pancode.fleet.answers import TroubleShape
from pancode.fleet.place import Reach
from pancode.git.pull_state import PullOpened
from pancode.kernel.errors import ConfigError, PancodeError, UsageError
from pancode.kernel.names import not_found
from pancode.kernel.records import EventKind, Node, Run
from pancode.runs.core import Core
from pancode.runs.feed_thread import FeedThread
from pancode.runs.views import format_iso, format_optional_iso

log = logging.getLogger("pancode.backups")
LOOK_S = 60.0
MOST_OUTCOMES = 100
_EVENTS = 500


@dataclass(frozen=True, slots=True)
class BackupPorts:
    """What backups use of the coordinator. `seat`: the number of its seat; `has_file`: whether the ledger is
    a file in the home."""

    home: Path
    settings: Callable[[], BackupSettings]
    place: Place
    seat: Callable[[], int]
    has_file: bool = True


class Backups:
    """What the coordinator knows of its copies, and the thread that makes them."""

    def __init__(self, core: Core, ports: BackupPorts) -> None:
        self._core, self._ports = core, ports
        self.records = CopyRecords(ports.home)
        self._thread = CopyThread(core, ports, self.records)
        self.threads = (self._thread,)

    @property
    def troubles(self) -> Sequence[TroubleShape]:
        """Return the failures of the last copies, for `fleet status`."""
        return [
            {"what": f"the copy on {one['node']} failed", "why": one["trouble"], "fix": one["fix"]}
            for one in self._thread.describe_nodes()
            if one["trouble"]
        ]

    def begin(self, to: Sequence[str], recipient: Recipient | None, by: str) -> BackupBegunAnswer:
        """Request a copy on each of these nodes (none given: those of the setting `backup.to`), and return at
        once.

        `recipient`: stored if the fleet has none. Raises NotFoundError, UsageError, ConfigError for a ledger
        in PostgreSQL, ConflictError if the fleet already has a recipient.
        """
        if not self._ports.has_file:
            raise ConfigError(
                "a copy cannot include a ledger in PostgreSQL",
                why="ledger.url is set",
                fix="back up the database with its own tools: docs/howto/postgresql.md",
                code="backup_postgres",
            )
        nodes = list(dict.fromkeys(to or self._ports.settings().to))
        if not nodes:
            fix = "pancode admin backup --to NODE, or set backup.to: pancode config set backup.to NODE"
            raise UsageError("no node is given for the copy", fix=fix, code="no_backup_node")
        must_be_far(self._core, nodes)
        if recipient is not None:
            self.records.keep_recipient(recipient)
        elif self.records.recipient() is None:
            fix = "pancode admin backup --to NODE creates a recovery key and prints it once"
            raise UsageError("the fleet has no recovery key yet", fix=fix, code="no_recovery_key")
        return {"number": self._thread.request(nodes), "to": nodes}

    def describe(self) -> BackupsAnswer:
        """Return settings, copies and the outcomes of requests. ConfigError for invalid settings."""
        settings, recipient = self._ports.settings(), self.records.recipient()
        running, waiting, outcomes = self._thread.state()
        return {
            "key": None if recipient is None else recipient.kind,
            "to": list(settings.to),
            "nightly": settings.nightly,
            "after_landing": settings.after_landing,
            "keep": settings.keep,
            "running": running,
            "waiting": waiting,
            "since": self._thread.since,
            "nodes": self._thread.describe_nodes(),
            "outcomes": outcomes,
        }

    # a landing wakes the thread through the event feed

    def closed_by_pull(self, run: Run) -> str:
        return ""

    def note_pull(self, run: Run, pull: PullOpened) -> None:
        return None

    def describe_landing(self, run: Run) -> str:
        return ""


def find_nodes(core: Core) -> dict[str, Node]:
    """Return the nodes of the fleet by name, without removed ones."""
    with core.ports.ledger.transaction() as tx:
        return {one.name: one for one in tx.find(Node) if one.removed is None}


def must_be_far(core: Core, names: Sequence[str]) -> None:
    """Raise NotFoundError for an unknown node, UsageError for one on the coordinator's machine."""
    known = find_nodes(core)
    for name in names:
        if name not in known:
            raise not_found("node", name, known, "pancode node ls")
        if Reach.of(known[name]).local:
            raise UsageError(
                f"{name} is this machine",
                why="a copy there is lost together with the coordinator's home",
                fix="choose another node: pancode node ls",
                code="backup_here",
            )


class CopyThread(FeedThread):
    """Makes one copy at a time: requested ones first, then those due by the settings."""

    def __init__(self, core: Core, ports: BackupPorts, records: CopyRecords) -> None:
        super().__init__(core, "backups", LOOK_S, frozenset({EventKind.RUN_LANDING}))
        self._ports, self._records = ports, records
        self._lock = threading.Lock()
        self._asked: deque[tuple[int, str]] = deque()
        self.since = core.wall_ms()
        """Requests of this process have higher numbers, those of an earlier one lower numbers."""
        self._number = self.since
        self._running: str | None = None
        self._outcomes: deque[OutcomeShape] = deque(maxlen=MOST_OUTCOMES)
        self._described: dict[str, NodeCopiesShape] | None = None
        """The copies of each node in short; None: not read yet. A record itself may have many megabytes."""

    def request(self, nodes: Sequence[str]) -> int:
        """Queue a copy on each node, and return the number of the request."""
        with self._lock:
            self._number += 1
            number = self._number
            self._asked.extend((number, node) for node in nodes)
        self.wake()
        return number

    def state(self) -> tuple[str | None, int, list[OutcomeShape]]:
        """Return the node of the current copy, the number of waiting ones, and the outcomes, oldest first."""
        with self._lock:
            return self._running, len(self._asked), list(self._outcomes)

    def describe_nodes(self) -> list[NodeCopiesShape]:
        """Return the copies on each node of the fleet, by name."""
        known = find_nodes(self._core)
        with self._lock:
            if self._described is None:
                self._described = {one.node: describe_node(one) for one in self._records.nodes()}
            return [one for name, one in sorted(self._described.items()) if name in known]

    def _keep(self, record: NodeRecord) -> None:
        self._records.keep(record)
        with self._lock:
            if self._described is not None:
                self._described[record.node] = describe_node(record)

    def run_pass(self) -> float:
        while not self._stopping.is_set():
            with self._lock:
                number, node = self._asked.popleft() if self._asked else (0, "")
                self._running = node or None
            if not node:
                break
            outcome = self._copy(number, node, whole=True)
            with self._lock:
                self._outcomes.append(outcome)
                self._running = None
        for node, whole in self._list_due():
            if not self._stopping.is_set():
                self._copy(0, node, whole)
        return LOOK_S

    def _list_due(self) -> list[tuple[str, bool]]:
        """Return the nodes on which a copy is due, and whether all its objects must be checked."""
        try:
            if not self._ports.has_file or self._records.recipient() is None:
                return []
            settings = self._ports.settings()
            return [
                (node, whole) for node in settings.to if (whole := self._is_due(node, settings)) is not None
            ]
        except PancodeError as error:
            log.warning("no copy is made now: %s", error.words)
            return []

    def _is_due(self, node: str, settings: BackupSettings) -> bool | None:
        """Return None if no copy is due, else whether all its objects must be checked."""
        try:
            record = self._records.record(node)
        except ConfigError as error:
            log.warning("no copy on %s: %s", node, error.words)
            return None
        copied_ms, now_ms = record.newest.taken_ms if record.newest else 0, self._core.wall_ms()
        if settings.nightly and rules.is_night_due(now_ms, self._core.tz, copied_ms, record.tried_ms):
            return True
        events = (one for one in self._core.feed.newest(_EVENTS) if one.kind is EventKind.RUN_LANDING)
        landed_ms = max((one.at_ms for one in events if one.data.get("status") == rules.LANDED), default=0)
        pause_ms = rules.RETRY_MS if record.trouble else rules.LANDINGS_MS
        is_due = landed_ms > copied_ms and now_ms - record.tried_ms >= pause_ms
        return False if settings.after_landing and is_due else None

    def _copy(self, number: int, node: str, whole: bool) -> OutcomeShape:
        """Make a copy on the node; a failure is recorded and logged, not raised."""
        outcome: OutcomeShape = {
            "number": number,
            "node": node,
            "ok": False,
            "copy": "",
            "why": "",
            "fix": "",
        }
        try:
            done = self._make(node, whole)
        except MemoryError:
            raise
        except Exception as error:  # whoever waits for the outcome gets one
            words, fix = str(error), "check the disk of this machine (df) and run/coordinator.log"
            if isinstance(error, PancodeError):
                words, fix = error.words, error.fix
                log.warning("copy on %s: %s", node, words)
            else:
                log.exception("the copy on %s failed", node)
            self._note_trouble(node, words, fix)
            return {**outcome, "why": words, "fix": fix}
        log.info("copy on %s: %s, %d of %d bytes sent", node, done.name, done.sent, done.size)
        return {**outcome, "ok": True, "copy": done.name}

    def _make(self, node: str, whole: bool) -> CopyRecord:
        recipient, settings = self._records.recipient(), self._ports.settings()
        if recipient is None:
            raise UsageError("the fleet has no recovery key", fix="pancode admin backup --to NODE")
        record = self._records.record(node).model_copy(update={"tried_ms": self._core.wall_ms()})
        self._keep(record)
        core, home = self._core, self._ports.home
        must_be_far(core, [node])
        number = rules.next_sequence((*self._records.nodes(), record))
        request = CopyRequest(
            core.fleet, core.key.public.tag, self._ports.seat(), number, recipient, settings.keep, whole
        )
        snapshot = HomeSnapshot(home, self._records.folder)

        def read() -> Iterator[FoundFile]:
            for file in snapshot.read():
                if self._stopping.is_set():
                    raise StoppedError
                yield file

        place = self._ports.place(node, self._stopping)
        keep, clock, ids = self._keep, core.ports.clock, core.ports.ids
        made = make_copy(request, read, place, record, keep, clock, ids).newest
        assert made is not None  # the copy that was just recorded
        return made

    def _note_trouble(self, node: str, words: str, fix: str) -> None:
        if self._stopping.is_set():
            return
        try:
            record = self._records.record(node)
            self._keep(record.model_copy(update={"trouble": words, "fix": fix}))
        except (PancodeError, OSError) as error:
            log.error("the failure of the copy on %s could not be recorded: %s", node, error)


def describe_node(record: NodeRecord) -> NodeCopiesShape:
    """Return the copies on a node, newest first."""
    by_order = sorted(record.copies, key=lambda one: one.order, reverse=True)
    copies = [describe_copy(one) for one in by_order]
    return {"node": record.node, "copies": copies, "trouble": record.trouble, "fix": record.fix}


def describe_copy(copy: CopyRecord) -> CopyShape:
    return {
        "name": copy.name,
        "taken_at": format_iso(copy.taken_ms),
        "verified_at": format_optional_iso(copy.verified_ms or None),
        "size": copy.size,
        "sent": copy.sent,
        "again": copy.again,
        "files": copy.files,
    }
