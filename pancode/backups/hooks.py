"""The coordinator's part for backups: the thread that makes copies on request, at night and after
landings."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pancode.backups import rules
from pancode.backups.answers import (
    BackupBegunAnswer,
    BackupsAnswer,
    CopyShape,
    OutcomeShape,
    PlaceCopiesShape,
)
from pancode.backups.contents import Contents
from pancode.backups.model import CopyIndex, CopyRecord, FindPlace, PlaceRecord, StoppedError, is_folder
from pancode.backups.records import CopyRecords
from pancode.backups.sealing import Recipient
from pancode.backups.service import CopyRequest, make_copy
from pancode.config.schema import BackupSettings
from pancode.fleet.answers import TroubleShape
from pancode.fleet.part import CoordinatorPart
from pancode.fleet.place import Reach
from pancode.kernel.declared import make_answer
from pancode.kernel.errors import ConfigError, PancodeError, UnavailableError, UsageError
from pancode.kernel.names import not_found
from pancode.kernel.records import EventKind, Node
from pancode.runs.core import Core
from pancode.runs.feed_thread import FeedThread
from pancode.runs.views import format_optional_iso

log = logging.getLogger("pancode.backups")
LOOK_S = 60.0
MOST_OUTCOMES = 100
_EVENTS = 500
_FIRST = "pancode admin backup --to NODE creates a recovery key and prints it once"


@dataclass(frozen=True, slots=True)
class BackupPorts:
    """What backups use of the coordinator. `seat`: the number of its seat; `has_file`: whether the ledger is
    a file in the home."""

    home: Path
    settings: Callable[[], BackupSettings]
    place: FindPlace
    seat: Callable[[], int]
    has_file: bool = True


class Backups(FeedThread, CoordinatorPart):
    """What the coordinator knows of its copies. Makes one copy at a time: requested ones first, then those
    due by the settings."""

    def __init__(self, core: Core, ports: BackupPorts) -> None:
        super().__init__(core, "backups", LOOK_S, frozenset({EventKind.RUN_LANDING}))
        self._ports, self.records = ports, CopyRecords(ports.home)
        self.threads = (self,)
        self._lock = threading.Lock()
        self._asked: deque[tuple[int, str]] = deque()
        self._since = core.wall_ms()
        """Requests of this process have higher numbers, those of an earlier one lower numbers."""
        self._number = self._since
        self._running: str | None = None
        self._outcomes: deque[OutcomeShape] = deque(maxlen=MOST_OUTCOMES)

    @property
    def troubles(self) -> Sequence[TroubleShape]:
        """Return the failures of the last copies, for `fleet status`."""
        found = self.list_places()
        return [
            {"what": f"the copy {_where(one.place)} failed", "why": one.trouble, "fix": one.fix}
            for one in found
            if one.trouble
        ]

    def begin(self, to: Sequence[str], recipient: Recipient | None) -> BackupBegunAnswer:
        """Request a copy in each of these places (none given: those of the setting `backup.to`), and return
        at once.

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
        places = list(dict.fromkeys(to or self._ports.settings().to))
        if not places:
            fix = "pancode admin backup --to NODE, or set backup.to: pancode config set backup.to NODE"
            raise UsageError("no node is given for the copy", fix=fix, code="no_backup_node")
        must_be_usable(self._core, self._ports.home, places)
        if recipient is not None:
            self.records.keep_recipient(recipient)
        elif self.records.recipient() is None:
            raise UsageError("the fleet has no recovery key yet", fix=_FIRST, code="no_recovery_key")
        with self._lock:
            self._number += 1
            self._asked.extend((self._number, place) for place in places)
            number = self._number
        self.wake()
        return {"number": number, "to": places}

    def describe(self) -> BackupsAnswer:
        """Return settings, copies and the outcomes of requests. ConfigError for invalid settings."""
        settings, recipient = self._ports.settings(), self.records.recipient()
        with self._lock:
            running, waiting, outcomes = self._running, len(self._asked), list(self._outcomes)
        return {
            "key": None if recipient is None else recipient.kind,
            "to": list(settings.to),
            "nightly": settings.nightly,
            "after_landing": settings.after_landing,
            "keep": settings.keep,
            "running": running,
            "waiting": waiting,
            "since": self._since,
            "nodes": [describe_place(one) for one in self.list_places()],
            "outcomes": outcomes,
        }

    def list_places(self) -> list[PlaceRecord]:
        """Return what is known of copies on each node of the fleet and in each folder, by name."""
        known = find_nodes(self._core)
        return [one for one in self.records.places() if one.place in known or is_folder(one.place)]

    def run_pass(self) -> float:
        while not self._stopping.is_set():
            with self._lock:
                number, place = self._asked.popleft() if self._asked else (0, "")
                self._running = place or None
            if not place:
                break
            outcome = self._copy(number, place, whole=True)
            with self._lock:
                self._outcomes.append(outcome)
                self._running = None
        for place, whole in self._list_due():
            if not self._stopping.is_set():
                self._copy(0, place, whole)
        return LOOK_S

    def _list_due(self) -> list[tuple[str, bool]]:
        """Return the places in which a copy is due, and whether all copies there must be checked."""
        try:
            if not self._ports.has_file or self.records.recipient() is None:
                return []
            settings = self._ports.settings()
        except PancodeError as error:
            log.warning("no copy is made now: %s", error.words)
            return []
        events = (one for one in self._core.feed.newest(_EVENTS) if one.kind is EventKind.RUN_LANDING)
        landed_ms = max((one.at_ms for one in events if one.data.get("status") == rules.LANDED), default=0)
        found, now_ms = list[tuple[str, bool]](), self._core.wall_ms()
        for place in settings.to:
            try:
                record = self.records.record(place)
            except ConfigError as error:
                log.warning("no copy %s: %s", _where(place), error.words)
                continue
            copied_ms = record.newest.taken_ms if record.newest else 0
            if settings.nightly and rules.is_night_due(now_ms, self._core.tz, copied_ms, record.tried_ms):
                found.append((place, True))
            elif settings.after_landing and rules.is_landing_due(record, landed_ms, now_ms):
                found.append((place, False))
        return found

    def _copy(self, number: int, place: str, whole: bool) -> OutcomeShape:
        """Make a copy in the place; a failure is recorded and logged, not raised."""
        why = fix = made = ""
        try:
            copy = self._make(place, whole)
            made = copy.name
            log.info("copy %s: %s, %d bytes", _where(place), copy.name, copy.size)
        except MemoryError:
            raise
        except Exception as error:  # whoever waits for the outcome gets one
            why, fix = str(error), "check the disk of this machine (df) and run/coordinator.log"
            if isinstance(error, PancodeError):
                why, fix = error.words, error.fix
                log.warning("copy %s: %s", _where(place), why)
            else:
                log.exception("the copy %s failed", _where(place))
            self._note_trouble(place, why, fix)
        return {"number": number, "node": place, "ok": bool(made), "copy": made, "why": why, "fix": fix}

    def _make(self, place: str, whole: bool) -> CopyRecord:
        recipient, settings = self.records.recipient(), self._ports.settings()
        if recipient is None:
            raise UsageError("the fleet has no recovery key", fix=_FIRST)
        core, home = self._core, self._ports.home
        self.records.keep(self.records.record(place).model_copy(update={"tried_ms": core.wall_ms()}))
        must_be_usable(core, home, [place])

        def check() -> None:
            if self._stopping.is_set():
                raise StoppedError

        def read(before: CopyIndex, begun_ms: int) -> Contents:
            return Contents(home, self.records.folder, before, begun_ms, check)

        tag, seat = core.key.public.tag, self._ports.seat()
        request = CopyRequest(place, core.fleet, tag, seat, recipient, settings.keep, read, whole)
        found = self._ports.place(place, self._stopping)
        return make_copy(request, self.records, found, core.ports.clock, core.ports.ids)

    def _note_trouble(self, place: str, words: str, fix: str) -> None:
        if self._stopping.is_set():
            return
        try:
            record = self.records.record(place)
            self.records.keep(record.model_copy(update={"trouble": words, "fix": fix}))
        except (PancodeError, OSError) as error:
            log.error("the failure of the copy %s could not be recorded: %s", _where(place), error)


def _where(place: str) -> str:
    return f"in {place}" if is_folder(place) else f"on {place}"


def find_nodes(core: Core) -> dict[str, Node]:
    """Return the nodes of the fleet by name, without removed ones."""
    with core.ports.ledger.transaction() as tx:
        return {one.name: one for one in tx.find(Node) if one.removed is None}


def must_be_usable(core: Core, home: Path, places: Sequence[str]) -> None:
    """Raise NotFoundError for an unknown node, UsageError for one on the coordinator's machine or a folder in
    its home, UnavailableError for a folder that is not there."""
    known = find_nodes(core)
    for one in places:
        if is_folder(one):
            if Path(one).resolve().is_relative_to(home.resolve()):
                fix = "name a folder outside of it"
                raise UsageError(f"{one} is in the home that is copied", fix=fix, code="backup_here")
            if not Path(one).is_dir():
                fix = f"is its disk mounted? If it is: mkdir -p {one}"
                raise UnavailableError(f"folder {one} not found on this machine", fix=fix, code="no_folder")
        elif one not in known:
            raise not_found("node", one, known, "pancode node ls")
        elif Reach.of(known[one]).local:
            raise UsageError(
                f"{one} is this machine",
                why="a copy there is lost together with the coordinator's home",
                fix="choose another node (pancode node ls), or a folder to carry elsewhere: --to-folder",
                code="backup_here",
            )


def describe_place(record: PlaceRecord) -> PlaceCopiesShape:
    """Return the copies in a place, newest first."""
    whole = {one.name for one in rules.list_whole(record)}
    copies: list[CopyShape] = [
        make_answer(
            CopyShape,
            one,
            verified_at=format_optional_iso(one.verified_ms if one.name in whole else None),
            base=one.base or None,
        )
        for one in sorted(record.copies, key=lambda one: one.order, reverse=True)
    ]
    here = is_folder(record.place)
    return {
        "node": record.place,
        "here": here,
        "copies": copies,
        "trouble": record.trouble,
        "fix": record.fix,
    }
