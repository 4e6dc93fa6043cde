"""Computes the state of an attempt, and of the node, from a journal's records. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, TypedDict, TypeVar, cast

from node_agent.wire.event import EventBody
from node_agent.wire.identity import FINAL, HOLDS_SLOT, MARKS, AttemptId, Mark
from node_agent.wire.model import FleetTime
from node_agent.wire.receipt import TurnMessage, TurnRecord

ChangeKind = Literal["change", "no_change", "empty", "none"]


class MarkData(TypedDict, total=False):
    """Facts that any mark may contain."""

    fault: list[str] | None
    """The kind and reason of the attempt's failure so far."""
    why: str
    """The reason of a refusal, a rejection, or an acknowledgement without a receipt."""
    findings: list[str]
    """Sentences that are added to the receipt."""


class AcceptedData(MarkData, total=False):
    session: str
    """The id of the node agent process that accepted the job."""
    at: list[int] | None
    """The fleet time of the acceptance: epoch and milliseconds."""
    wall: int


class PreparedData(MarkData, total=False):
    enforced: list[list[str]]
    """Each rule of the policy, and the component that enforces it."""
    isolation: str
    version: str | None
    """The version of the agent program."""
    served: dict[str, Any] | None
    """Wire form of node_agent.wire.receipt.Served."""
    prompt: str
    """The digest of all instructions for the agent."""
    gateway: bool
    """Whether the attempt's model calls go through a gateway of this node."""
    boot: str
    """The id of the boot in which the attempt's files were prepared."""
    cache: str | None
    """The key under which the result of set-up is stored."""
    restored: bool
    """Whether the result of an earlier set-up was restored."""


class ExitedData(MarkData, total=False):
    began: int
    ended: int
    """Wall-clock times: `began` of the attempt's first phase, and `ended` of the agent's phase."""
    code: int | None
    signal: int | None
    answer: str
    session: str | None
    model: str | None
    usage: dict[str, Any]
    claimed: dict[str, Any]
    """The usage that the runtime reports, recorded if the gateway counted as well."""
    calls: dict[str, Any]
    """Wire form of node_agent.wire.receipt.ModelCalls."""
    tools: dict[str, int]
    question: dict[str, Any]
    """Wire form of node_agent.wire.receipt.UserQuestion."""
    proposed: list[dict[str, Any]]
    """Wire form of node_agent.wire.skill.ProposedTool."""
    rests: str | None
    """The reason why an interactive run ended although no one stopped it."""
    resets_ms: int
    """Milliseconds from the agent's end until the usage limit of its login resets; 0: not known."""


class CommittedData(MarkData, total=False):
    kind: ChangeKind
    commit: str | None
    files: list[str]
    incomplete: bool
    """Whether the result lacks files of the agent, so that the checkout is retained."""
    exposed: list[list[str]]
    """Each secret's name and the file with its value; without a name, the reason why the search failed."""


class GatedData(MarkData, total=False):
    gates: list[dict[str, Any]]
    """Wire form of node_agent.wire.receipt.GateResult."""
    on: str
    """`result`: the gates ran in a new checkout of the result."""
    score: str
    """The number that the score command printed."""
    reports: list[dict[str, Any]]
    """Wire form of node_agent.wire.receipt.GateReport."""


class PushedData(MarkData, total=False):
    blobs: list[dict[str, Any]]
    """Wire form of node_agent.wire.receipt.Blob."""
    delivered: bool
    """Whether the depot has the commit."""


Data = Mapping[str, Any]
"""Plain JSON that a step records for later steps."""

KEEP_MS = 30 * 24 * 3_600_000
"""Minimum retention of finished entries, stops and tombstones; also until their epoch is over."""

SKIP = 10_000
"""The number of event numbers that are skipped after a loss of records, so that none is used twice."""


class JournalError(Exception):
    """A record that must not be written: an earlier mark, an unknown attempt, another job for a lease."""


class StopKind(StrEnum):
    """The reason for a request to end an attempt."""

    STOP = "stop"
    TOMBSTONE = "tombstone"
    DRAIN = "drain"
    TOKENS = "tokens"
    USD = "usd"
    TURNS = "turns"
    GATEWAY = "gateway"
    RULE = "rule"
    MODEL_FAILED = "model_failed"
    MODEL_BUSY = "model_busy"
    MODEL_AUTH = "model_auth"
    MODEL_REFUSES = "model_refuses"


@dataclass(frozen=True, slots=True)
class PutBack:
    """The state of set-up's stored folders. `key`: the name of the copy; None if there will be no copy.
    `restored`: whether the copy is now in the checkout.

    `told`: whether set-up has to run, and why, as text for a user.
    """

    key: str | None
    restored: bool = False
    findings: tuple[str, ...] = ()
    told: str = ""


@dataclass(frozen=True, slots=True)
class StopNote:
    """The first request to end an attempt; later requests change nothing."""

    kind: StopKind
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """The content of one durable record, which is written completely or not at all."""

    mark: Mark | None = None
    data: Data = field(default_factory=dict)
    passed: tuple[tuple[Mark, Data], ...] = ()
    """Earlier marks that are written in the same record, because there was no work between them."""
    say: tuple[EventBody, ...] = ()
    """Events of the record; the journal numbers and signs them."""
    stop: StopNote | None = None
    baseline: str | None = None
    """The name of the workspace's record of the files after set-up; it proves that set-up has succeeded."""
    findings: tuple[str, ...] = ()
    """Findings for the receipt that belong to no mark."""
    turns: tuple[TurnRecord, ...] = ()
    """Turns of an interactive run that have ended."""
    laid: tuple[TurnMessage, ...] = ()
    """Messages of users that are about to be written for the program."""
    cleaned: bool = False
    lossy: bool = False
    """The note has only events, and they may be dropped when the disk is full."""
    lazy: bool = False
    """A power failure may lose the note before it is reported: the repeated step has the same result."""


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One attempt as recorded in the journal."""

    identity: AttemptId
    digest: str
    """The digest of the job's envelope."""
    epoch: int
    mark: Mark
    data: Mapping[Mark, Data]
    """The data of each mark; empty after the attempt was cleaned up."""
    wall_ms: int
    last_event: int = 0
    stop: StopNote | None = None
    receipt: str | None = None
    """Digest of the receipt's envelope."""
    chain: int = 0
    """The receipt's number in this node's chain of receipts."""
    baseline: str | None = None
    """The workspace's name for the files after set-up; None: set-up has not ended, or there is none."""
    findings: tuple[str, ...] = ()
    """Findings that belong to no mark."""
    turns: tuple[TurnRecord, ...] = ()
    """The turns of an interactive run that have ended, in order."""
    laid: Mapping[int, TurnMessage] = field(default_factory=dict)
    """Messages of users that were written for the program, by number."""
    cleaned: bool = False
    damaged: bool = False
    """Some records of the attempt were lost, so the remaining ones are not reliable about its processes."""

    @property
    def final(self) -> bool:
        return self.mark in FINAL

    @property
    def is_held(self) -> bool:
        """Whether it is certain that no part of the attempt has started."""
        return self.mark is Mark.HELD and not self.damaged

    @property
    def holds_slot(self) -> bool:
        """Whether the attempt may occupy a slot; without the record of its start, it may still be running."""
        return self.mark in HOLDS_SLOT or (self.mark is Mark.HELD and self.damaged)

    @property
    def accepted(self) -> AcceptedData:
        """Return the data of the mark `accepted`, empty if not reached; the next properties work likewise."""
        return cast("AcceptedData", self.data.get(Mark.ACCEPTED, {}))

    @property
    def prepared(self) -> PreparedData:
        return cast("PreparedData", self.data.get(Mark.PREPARED, {}))

    @property
    def exited(self) -> ExitedData:
        return cast("ExitedData", self.data.get(Mark.EXITED, {}))

    @property
    def committed(self) -> CommittedData:
        return cast("CommittedData", self.data.get(Mark.COMMITTED, {}))

    @property
    def gated(self) -> GatedData:
        return cast("GatedData", self.data.get(Mark.GATED, {}))

    @property
    def pushed(self) -> PushedData:
        return cast("PushedData", self.data.get(Mark.PUSHED, {}))

    @property
    def newest(self) -> MarkData:
        """Return the data of the newest mark."""
        return cast("MarkData", self.data.get(self.mark, {}))

    @property
    def marks(self) -> frozenset[Mark]:
        return frozenset(self.data)


@dataclass(frozen=True, slots=True)
class PendingStop:
    """A stop or tombstone for a future lease. `lease`: the highest one that a tombstone ends."""

    reason: str
    epoch: int
    wall_ms: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class JournalState:
    """The node's own state, apart from single attempts. `slots` None: the number in the node's settings."""

    epoch: int = 0
    control_seq: int = 0
    """Every control message up to this number was applied or is obsolete; none of them is missing."""
    latest: Mapping[str, int] = field(default_factory=dict)
    """The number of the newest applied message for each kind of setting."""
    slots: int | None = None
    least: int | None = None
    """The minimum number of slots while the node is under load; None: always all of them."""
    draining: bool = False
    revoked: bool = False
    stops: Mapping[str, PendingStop] = field(default_factory=dict)
    """Stops for leases that have not arrived yet and will be refused, by attempt identity."""
    tombstones: Mapping[str, PendingStop] = field(default_factory=dict)
    """The tombstones, by run."""
    chain: int = 0
    last_receipt: str | None = None
    """The digest of the newest receipt among the deleted journal entries."""


def may_follow(entry: JournalRecord, mark: Mark) -> bool:
    """Whether the mark may follow the entry's: only forward and not after a final mark, but an unstarted
    attempt may be prepared again."""
    if entry.final:
        return False
    if mark in (Mark.REFUSED, Mark.REJECTED) or mark is entry.mark is Mark.PREPARED:
        return True
    return MARKS.index(mark) > MARKS.index(entry.mark)


def record_of(note: Note, events: Sequence[tuple[int, str]], wall_ms: int) -> dict[str, Any]:
    """Return the note as plain JSON, with its events numbered and signed."""
    record: dict[str, Any] = {"w": wall_ms}
    if note.mark is not None:
        record |= {"m": note.mark.value, "d": dict(note.data)}
    if note.passed:
        record["p"] = [[mark.value, dict(data)] for mark, data in note.passed]
    if note.stop is not None:
        record["s"] = [note.stop.kind.value, note.stop.reason]
    if note.baseline is not None:
        record["b"] = note.baseline
    if note.findings:
        record["f"] = list(note.findings)
    if note.turns:
        record["t"] = [turn.model_dump(mode="json") for turn in note.turns]
    if note.laid:
        record["l"] = [words.model_dump(mode="json") for words in note.laid]
    if note.cleaned:
        record["c"] = True
    if events:
        record["e"] = [list(event) for event in events]
    return record


def first_record(note: Note, head: Data, events: Sequence[tuple[int, str]], wall_ms: int) -> dict[str, Any]:
    """Return the record that opens an entry. `head`: identity, digest, epoch and job."""
    return record_of(note, events, wall_ms) | {"head": dict(head)}


def open_entry(record: Data) -> JournalRecord:
    """Return the entry that a first record opens. Raises KeyError or ValueError for other data."""
    head = record["head"]
    entry = JournalRecord(
        identity=AttemptId.parse(head["identity"]),
        digest=str(head["digest"]),
        epoch=int(head["epoch"]),
        mark=Mark(record["m"]),
        data={},
        wall_ms=int(record["w"]),
    )
    return apply_record(entry, record)


def apply_record(entry: JournalRecord, record: Data) -> JournalRecord:
    """Return the entry as changed by the next record."""
    new: dict[str, Any] = _apply_marks(entry, record) if "m" in record else {}
    if "r" in record:
        new |= {"receipt": record["r"], "chain": int(record["n"])}
    if "s" in record and entry.stop is None:
        new["stop"] = StopNote(StopKind(record["s"][0]), record["s"][1])
    if "b" in record:
        new["baseline"] = str(record["b"])
    if "f" in record:
        new["findings"] = (*entry.findings, *record["f"])
    if "t" in record:
        turns = (TurnRecord.model_validate(one, strict=False) for one in record["t"])
        new["turns"] = (*entry.turns, *turns)
    if "l" in record:
        words = (TurnMessage.model_validate(one, strict=False) for one in record["l"])
        new["laid"] = {**{one.number: one for one in words}, **entry.laid}
    if record.get("c"):
        new |= {"cleaned": True, "data": {}, "turns": (), "laid": {}}
    last = entry.last_event
    if record.get("x"):
        new["damaged"], last = True, last + SKIP
    new["last_event"] = max(last, *(int(event[0]) for event in record.get("e", ())), 0)
    return replace(entry, **new)


def _apply_marks(entry: JournalRecord, record: Data) -> dict[str, Any]:
    """Return the changes that the record's marks make to the entry."""
    marks = {Mark(name): data for name, data in (*record.get("p", ()), (record["m"], record["d"]))}
    new = {"mark": Mark(record["m"]), "data": {**entry.data, **marks}, "wall_ms": int(record["w"])}
    return new | {"baseline": None} if Mark.PREPARED in marks else new  # the data describes deleted files


def is_prunable(entry: JournalRecord, epoch: int, wall_ms: int) -> bool:
    """Whether a finished entry can be deleted: it is old, cleaned up, and its epoch is over."""
    return entry.cleaned and entry.final and is_over(entry.epoch, entry.wall_ms, epoch, wall_ms)


def is_over(its_epoch: int, its_wall_ms: int, epoch: int, wall_ms: int) -> bool:
    return its_epoch < epoch and wall_ms - its_wall_ms > KEEP_MS


def without_the_old(state: JournalState, wall_ms: int) -> JournalState:
    """Return the node's state without stops and tombstones that are no longer needed."""
    return replace(
        state,
        stops=_select_kept(state.stops, state.epoch, wall_ms),
        tombstones=_select_kept(state.tombstones, state.epoch, wall_ms),
    )


K = TypeVar("K")


def _select_kept(pending: Mapping[K, PendingStop], epoch: int, wall_ms: int) -> dict[K, PendingStop]:
    return {key: one for key, one in pending.items() if not is_over(one.epoch, one.wall_ms, epoch, wall_ms)}


def state_to_json(state: JournalState) -> dict[str, Any]:
    """Return the state as plain JSON."""
    return {
        "epoch": state.epoch,
        "control_seq": state.control_seq,
        "latest": dict(state.latest),
        "slots": state.slots,
        "least": state.least,
        "draining": state.draining,
        "revoked": state.revoked,
        "stops": {key: _pending_json(one) for key, one in state.stops.items()},
        "tombstones": {key: _pending_json(one) for key, one in state.tombstones.items()},
        "chain": state.chain,
        "last_receipt": state.last_receipt,
    }


def state_from_json(raw: Data) -> JournalState:
    """Return the state from the JSON of `state_to_json`; KeyError, TypeError or ValueError for other data."""
    pending = {
        kind: {key: PendingStop(*one) for key, one in raw[kind].items()} for kind in ("stops", "tombstones")
    }
    return JournalState(
        epoch=int(raw["epoch"]),
        control_seq=int(raw["control_seq"]),
        latest={str(kind): int(seq) for kind, seq in raw.get("latest", {}).items()},
        slots=None if raw["slots"] is None else int(raw["slots"]),
        least=None if raw.get("least") is None else int(raw["least"]),
        draining=bool(raw["draining"]),
        revoked=bool(raw["revoked"]),
        stops=pending["stops"],
        tombstones=pending["tombstones"],
        chain=int(raw["chain"]),
        last_receipt=raw["last_receipt"],
    )


def _pending_json(one: PendingStop) -> list[Any]:
    return [one.reason, one.epoch, one.wall_ms, one.lease]


def at_json(at: FleetTime | None) -> list[int] | None:
    """Return a fleet time in the form of a record: epoch and milliseconds; None for None."""
    return None if at is None else [at.epoch, at.ms]
