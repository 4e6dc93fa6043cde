"""Decides what a signal changes in a run: the one place for its life."""

from __future__ import annotations

from typing import assert_never

from pancode.landing import cross_check_rules
from pancode.landing import rules as landing
from pancode.runs.life import approvals, binding, ends, node_events, waits
from pancode.runs.life.case import RunCase
from pancode.runs.life.changes import Changes
from pancode.runs.life.signals import (
    Admitted,
    Approved,
    AskedAgain,
    AskedFirst,
    Believed,
    Bound,
    CallDecided,
    CalledOff,
    Continued,
    Declined,
    Doubted,
    Dropped,
    Due,
    Ended,
    FleetAnswered,
    FromNode,
    GivenUp,
    GivesWay,
    Landed,
    Landing,
    LandingAsked,
    LandingDue,
    LandingOver,
    LandingProposed,
    LandingWrites,
    LeftWorkspace,
    Lost,
    NodeReported,
    NodeSilent,
    NotTaken,
    Priced,
    Quarantined,
    Queued,
    Rejected,
    Released,
    Reverted,
    SessionClosed,
    Signal,
    Spoken,
    Steered,
    Stop,
    TermsAsked,
    ToldByFleet,
    ToldByPerson,
    ToldByTracker,
    TurnAsked,
    Unasked,
    Unbindable,
    UnknownFence,
    VerificationAsked,
    VerificationBegun,
    VerificationOver,
    Verifying,
    Waits,
)
from pancode.runs.receipts import rules as receipts
from pancode.sessions import fleet_calls


def decide(case: RunCase, *signals: Signal) -> Changes:
    """All changes that these signals make, one after the other. Pure: it reads only the case.

    RefusedError when a ceiling has no room for an admission, and for a second answer.
    """
    made = Changes.of(case)
    for signal in signals:
        made = _step(made, signal)
    return made


def _step(made: Changes, signal: Signal) -> Changes:
    if isinstance(signal, Queued):
        return _queued(made, signal)
    if isinstance(signal, FromNode):
        return _from_node(made, signal)
    if isinstance(signal, Ended):
        return _ended(made, signal)
    if isinstance(signal, Steered):
        return _steered(made, signal)
    if isinstance(signal, Landing | Verifying):
        return _landed(made, signal) if isinstance(signal, Landing) else _verified(made, signal)
    match signal:
        case Believed():
            return receipts.believed(made, signal)
        case Rejected():
            return receipts.rejected(made, signal)
        case _:
            assert_never(signal)


def _queued(made: Changes, signal: Queued) -> Changes:
    match signal:
        case Admitted():
            return binding.admitted(made, signal)
        case AskedFirst():
            return approvals.asked_first(made)
        case Due():
            return binding.due(made, signal)
        case Waits():
            return binding.waits(made, signal)
        case Released():
            return binding.released(made)
        case Bound():
            return binding.bound(made, signal)
        case _:
            assert_never(signal)


def _from_node(made: Changes, signal: FromNode) -> Changes:
    match signal:
        case NodeReported():
            return node_events.reported(made, signal)
        case NotTaken():
            return node_events.not_taken(made)
        case Doubted():
            return node_events.doubted(made, signal)
        case NodeSilent():
            return node_events.silent(made, signal)
        case Quarantined():
            return node_events.quarantined(made, signal)
        case UnknownFence():
            return node_events.unknown(made, signal)
        case _:
            assert_never(signal)


def _ended(made: Changes, signal: Ended) -> Changes:
    match signal:
        case Lost():
            return ends.lost(made, signal)
        case Stop():
            return ends.stop(made, signal)
        case GivenUp():
            return ends.given_up(made, signal)
        case Unbindable():
            return ends.unbindable(made, signal)
        case Priced():
            return ends.priced(made, signal)
        case _:
            assert_never(signal)


def _steered(made: Changes, signal: Steered) -> Changes:
    if isinstance(signal, Spoken):
        return _spoken(made, signal)
    match signal:
        case LeftWorkspace():
            return waits.left(made, signal)
        case Continued():
            return waits.continued(made, signal)
        case Declined():
            return approvals.denied(made, signal)
        case Approved():
            return approvals.approved(made, signal)
        case CallDecided():
            return approvals.decided(made, signal)
        case Unasked():
            return approvals.unasked(made, signal)
        case AskedAgain():
            return approvals.asked_again(made)
        case _:
            assert_never(signal)


def _spoken(made: Changes, signal: Spoken) -> Changes:
    match signal:
        case ToldByPerson():
            return waits.told(made, signal)
        case ToldByFleet():
            return waits.told_by_fleet(made, signal)
        case ToldByTracker():
            return waits.told_by_tracker(made, signal)
        case TurnAsked():
            return waits.turn_asked(made, signal)
        case GivesWay():
            return waits.gives_way(made, signal)
        case TermsAsked():
            return waits.terms_asked(made, signal)
        case SessionClosed():
            return waits.closed(made, signal)
        case FleetAnswered():
            return fleet_calls.answered(made, signal)
        case _:
            assert_never(signal)


def _landed(made: Changes, signal: Landing) -> Changes:
    match signal:
        case LandingAsked():
            return landing.asked(made, signal)
        case LandingProposed():
            return landing.proposed(made, signal)
        case LandingDue():
            return landing.due(made)
        case Dropped():
            return landing.dropped(made, signal)
        case CalledOff():
            return landing.called_off(made, signal)
        case LandingWrites():
            return landing.writes(made, signal)
        case LandingOver():
            return landing.over(made, signal)
        case Landed():
            return landing.landed(made, signal)
        case Reverted():
            return landing.reverted(made, signal)
        case _:
            assert_never(signal)


def _verified(made: Changes, signal: Verifying) -> Changes:
    match signal:
        case VerificationAsked():
            return cross_check_rules.asked(made, signal)
        case VerificationBegun():
            return cross_check_rules.begun(made, signal)
        case VerificationOver():
            return landing.after_verification(cross_check_rules.over(made, signal)).advance()
        case _:
            assert_never(signal)
