"""Bugs of sessions planted on purpose, one rule taken away each: the schedules of sittings must see them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from node_agent.attempt.job import Job
from node_agent.native.sitting import Sitting
from pancode.kernel.records import RunState
from pancode.kernel.values import replace as changed
from pancode.runs.admission import resolution
from pancode.runs.life import conversation
from pancode.sessions import run_continuation
from pancode.sessions import service as words
from pancode.sessions.session import load_chain
from tests.simulation.kinds import SITTINGS
from tests.simulation.planted import Bug, Plant, _to


def _tries_again(patch: pytest.MonkeyPatch) -> None:
    as_sitting = conversation.as_sitting

    def patient(*said: Any, **more: Any) -> Any:
        return replace(as_sitting(*said, **more), attempts=3)

    patch.setattr(words, "as_sitting", patient)
    patch.setattr(run_continuation, "as_sitting", patient)


_turn = Sitting._turn


def _synced_late(sitting: Sitting, *said: Any) -> None:
    voice: Any = sitting._loop.voice
    sync, voice.sync = voice.sync, lambda: None
    _turn(sitting, *said)
    voice.sync = sync
    sync()


def _heard_unsynced(sitting: Sitting) -> str:
    return sitting._words.new()


def _looks_at_no_wish(sitting: Sitting) -> None:
    sitting._loop.voice.flush()


_say = words.send_message


def _begins_at_once(core: Any, around: Any, text: str, said: str, by: str, token: Any = None) -> Any:
    with core.ports.ledger.transaction() as tx:
        session = load_chain(tx, text)
    if session.newest.state is not RunState.RUNNING:
        return _say(core, around, text, said, by, token)
    old = changed(session.newest, state=RunState.ENDED)
    begun = run_continuation.continue_run(core, around, old, said, by, session=session.id)
    return words.SaidWords(begun.run, "begins", begun=begun)


_tell = Job.tell


def _told_to_another(job: Job, message: Any) -> None:
    others = [entry.identity for entry in job._context.journal.live() if entry.identity != message.identity]
    _tell(job, message.model_copy(update={"identity": others[0]}) if others else message)


def _holds_an_estimate(patch: pytest.MonkeyPatch) -> None:
    estimate = resolution.estimate_cost

    def small(*said: Any) -> Any:
        return replace(estimate(*said), usd=Decimal("0.30"))

    patch.setattr(resolution, "estimate_cost", small)


def _bug(name: str, plant: Plant, first: int = 0) -> Bug:
    return Bug(name, SITTINGS, plant, first=first)


SITTING_BUGS = (
    _bug("words are sent again after a reboot", _tries_again),
    _bug("a turn is synced after its model was asked", _to(Sitting, "_turn", _synced_late)),
    _bug("words that are heard in a turn are not synced", _to(Sitting, "_more", _heard_unsynced), 245),
    _bug("a cancelled turn calls on", _to(Sitting, "_look", _looks_at_no_wish)),
    _bug(
        "the next sitting begins before the receipt of the one before",
        _to(words, "send_message", _begins_at_once),
    ),
    _bug("words of another session are taken", _to(Job, "tell", _told_to_another)),
    _bug("a sitting holds what is expected of it", _holds_an_estimate),
)
