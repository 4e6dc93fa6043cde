"""Verifies the coordinator's control messages and applies each message once; unsigned ones are rejected."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from node_agent.attempt import records
from node_agent.attempt.claims import Self
from node_agent.attempt.journal import Journal
from node_agent.attempt.ports import Sent
from node_agent.wire.clock import Clock
from node_agent.wire.control import (
    Acknowledge,
    BudgetAnswers,
    Control,
    Drain,
    Examine,
    FleetAnswers,
    Orphaned,
    Reject,
    ReportAttempts,
    Resend,
    Revoke,
    SetSlots,
    StopControl,
    TakeBack,
    Tombstone,
    TurnControl,
    UserAnswers,
    UserMessage,
)
from node_agent.wire.event import Interrupting, Refused, Revoked
from node_agent.wire.failure import JobRefusal
from node_agent.wire.identity import AttemptId, Mark
from node_agent.wire.signing import (
    PublicKey,
    RefusalCode,
    Signature,
    WireRefusal,
    encode_pae,
    open_as,
    parse_envelope,
)


@dataclass(frozen=True, slots=True)
class ControlResult:
    """The effects of a batch of messages. `touched`: the attempts that now have something to do. Texts for
    users about messages: `forged`: not signed by the coordinator; `unfit`: could not be applied."""

    touched: tuple[AttemptId, ...]
    forged: tuple[str, ...]
    unfit: tuple[str, ...]
    last: str | None
    """The position in the stream up to which all messages are applied."""


Laid = UserMessage | TurnControl | FleetAnswers | BudgetAnswers
"""The messages whose content is stored where a run's program reads it."""
Acted = Resend | Examine | UserAnswers | ReportAttempts | Laid


@dataclass(frozen=True, slots=True)
class Acts:
    """Actions that messages require outside of the journal. `resend`: send a receipt again; `examine`: test a
    model; `deliver`: store a user's message or turn control, or the fleet's answer; `answer`: answer a
    waiting call; `forgo`: refuse a job whose snapshot is being fetched; `report`: report attempts."""

    resend: Callable[[AttemptId], None]
    examine: Callable[[Examine], None]
    deliver: Callable[[Laid], None]
    answer: Callable[[UserAnswers], None]
    forgo: Callable[[TakeBack], None]
    report: Callable[[ReportAttempts], None]


class Controls:
    """Applies control messages. A message whose effect could not be stored durably is read again later."""

    def __init__(
        self, node: Self, keys: Mapping[str, PublicKey], journal: Journal, clock: Clock, acts: Acts
    ) -> None:
        self._node, self._keys, self._journal = node, keys, journal
        self._clock, self._acts = clock, acts
        self._touched: list[AttemptId] = []
        self._ahead: set[int] = set()
        """Numbers applied while a smaller one is missing. A restart forgets them and rereads the messages."""

    def settle(self, floor: int) -> None:
        """Accept the coordinator's statement that messages up to this number will not be sent any more."""
        state = self._journal.node()
        if floor > state.control_seq:
            self._journal.set_node(_count_applied(replace(state, control_seq=floor), self._ahead))

    def take(self, messages: Sequence[Sent]) -> ControlResult:
        """Apply the messages in order. DiskFull is passed on; messages that were applied before it are then
        applied again, which is harmless."""
        self._touched, forged, unfit, last = [], list[str](), list[str](), None
        state, ahead = self._journal.node(), set(self._ahead)
        for sent in messages:
            try:
                control = self._open(sent.data)
                news = control.seq > state.control_seq and control.seq not in ahead
                # This applies even to a message that cannot be applied, as a later try would fail too.
                ahead.add(control.seq)
                state = self._apply(control, state, news)
            except WireRefusal as refusal:
                forged.append(f"a control message was not accepted: {refusal}")
            except (
                records.JournalError,
                KeyError,
            ) as exc:  # A message that cannot be applied must not delay the others.
                unfit.append(f"a control message could not be applied: {exc}")
            last = sent.entry
        self._journal.set_node(_count_applied(state, ahead))
        self._ahead = {seq for seq in ahead if seq > self._journal.node().control_seq}
        return ControlResult(tuple(self._touched), tuple(forged), tuple(unfit), last)

    def _open(self, data: bytes) -> Control:
        control = open_as(Control, parse_envelope(data), self._keys)
        if (control.fleet, control.node) != (self._node.fleet, self._node.tag):
            raise WireRefusal(RefusalCode.INVALID_FIELD, f"it is for {control.fleet}/{control.node}")
        return control

    def _apply(self, control: Control, state: records.JournalState, news: bool) -> records.JournalState:
        """Apply a message. The order of facts about an attempt does not matter; of settings, the newest of
        each kind counts."""
        body = control.body
        match body:
            case StopControl():
                state = self._stop(control, body, state)
            case TakeBack():
                self._take_back(body)
            case Tombstone():
                state = self._apply_tombstone(control, body, state)
            case Acknowledge():
                self._acknowledge(body)
            case Orphaned() | Reject():
                # Receipt not accepted: an orphaned attempt may be forgotten; a rejected one keeps all files.
                if isinstance(body, Orphaned):
                    self._answer(body.identity, body.receipt, Mark.ACKNOWLEDGED, "orphan")
                else:
                    self._answer(body.identity, body.receipt, Mark.REJECTED, body.reason)
            case (
                Resend()
                | Examine()
                | UserMessage()
                | UserAnswers()
                | TurnControl()
                | FleetAnswers()
                | BudgetAnswers()
                | ReportAttempts()
            ):
                if news:
                    self._act(body)
            case SetSlots() | Drain() | Revoke():
                newest = news and control.seq > state.latest.get(body.kind, 0)
                state = _apply_setting(body, control.seq, state) if newest else state
            case _:
                assert_never(body)
        return state

    def _act(self, body: Acted) -> None:
        if isinstance(body, Examine):
            self._acts.examine(body)
        elif isinstance(body, Laid):
            self._acts.deliver(body)
        elif isinstance(body, UserAnswers):
            self._acts.answer(body)
        elif isinstance(body, ReportAttempts):
            self._acts.report(body)
        elif self._find_awaiting(body.identity, body.receipt, Mark.ACKNOWLEDGED) is not None:
            self._acts.resend(body.identity)
            self._touched.append(body.identity)

    def _stop(self, control: Control, body: StopControl, state: records.JournalState) -> records.JournalState:
        entry = self._journal.get(body.identity)
        if entry is not None:
            self._end(entry, records.StopNote(records.StopKind.STOP, body.reason))
            return state
        pending = records.PendingStop(body.reason, control.at.epoch, self._clock.wall_ms())
        return replace(state, stops={**state.stops, str(body.identity): pending})

    def _take_back(self, body: TakeBack) -> None:
        """Give a held job back to the coordinator. A started job continues, and its marks show that."""
        entry = self._journal.get(body.identity)
        if entry is None:
            self._acts.forgo(body)
        elif entry.is_held:
            word = Refused(why=JobRefusal.TAKEN_BACK, detail=body.reason)
            note = records.Note(mark=Mark.REFUSED, data={"why": body.reason}, say=(word,))
            self._journal.write(entry.identity, note)
            self._touched.append(entry.identity)

    def _apply_tombstone(
        self, control: Control, body: Tombstone, state: records.JournalState
    ) -> records.JournalState:
        for entry in self._journal.live():
            if entry.identity.run == body.run and entry.identity.lease <= body.up_to_lease:
                self._end(entry, records.StopNote(records.StopKind.TOMBSTONE, body.reason))
        known = state.tombstones.get(body.run)
        if known is not None and known.lease >= body.up_to_lease:
            return state
        pending = records.PendingStop(body.reason, control.at.epoch, self._clock.wall_ms(), body.up_to_lease)
        return replace(state, tombstones={**state.tombstones, body.run: pending})

    def _end(self, entry: records.JournalRecord, stop: records.StopNote) -> None:
        if entry.is_held:  # The job has not started and never will; one record states both.
            why = {"why": stop.reason}
            note = records.Note(mark=Mark.REFUSED, data=why, stop=stop, say=(Revoked(reason=stop.reason),))
            self._journal.write(entry.identity, note)
            self._touched.append(entry.identity)
        if entry.stop is not None or not entry.holds_slot:
            return
        self._journal.write(entry.identity, records.Note(stop=stop, say=(Interrupting(reason=stop.reason),)))
        self._touched.append(entry.identity)

    def _find_awaiting(
        self, identity: AttemptId, receipt: str, also: Mark = Mark.RECEIPTED
    ) -> records.JournalRecord | None:
        entry = self._journal.get(identity)
        fits = entry is not None and entry.mark in (Mark.RECEIPTED, also) and entry.receipt == receipt
        return entry if fits else None

    def _acknowledge(self, body: Acknowledge) -> None:
        if self._find_awaiting(body.identity, body.receipt) is None:
            return
        if not self._is_countersigned(body.identity, body.countersignature):
            words = f"the countersignature for {body.identity} does not match the receipt"
            raise WireRefusal(RefusalCode.TAMPERED, words)
        self._answer(body.identity, body.receipt, Mark.ACKNOWLEDGED, "")

    def _is_countersigned(self, identity: AttemptId, signature: Signature) -> bool:
        """Whether the coordinator signed exactly the bytes that this node sealed."""
        key, sealed = self._keys.get(signature.keyid), self._journal.receipt(identity)
        if key is None or sealed is None:
            return False
        envelope = parse_envelope(sealed)
        try:
            raw = base64.b64decode(signature.sig, validate=True)
        except binascii.Error:
            return False
        return key.verifies(raw, encode_pae(envelope.payloadType, envelope.body()))

    def _answer(self, identity: AttemptId, receipt: str, mark: Mark, why: str) -> None:
        if self._find_awaiting(identity, receipt) is None:
            return
        try:
            # If this message is lost, the coordinator repeats it.
            note = records.Note(mark=mark, data={"why": why}, lazy=True)
            self._journal.write(identity, note)
        except records.JournalError:
            return
        self._touched.append(identity)


def _count_applied(state: records.JournalState, ahead: set[int]) -> records.JournalState:
    """Count the applied numbers up to the first gap; numbers after the gap are requested again."""
    seq = state.control_seq
    while seq + 1 in ahead:
        seq += 1
    return replace(state, control_seq=seq)


def _apply_setting(
    body: SetSlots | Drain | Revoke, seq: int, state: records.JournalState
) -> records.JournalState:
    state = replace(state, latest={**state.latest, body.kind: seq})
    match body:
        case SetSlots():
            return replace(state, slots=body.slots, least=body.least)
        case Drain():
            return replace(state, draining=body.on)
        case Revoke():
            return replace(state, revoked=True)
        case _:
            assert_never(body)
