"""Bugs of sessions planted on purpose, one rule taken away each: the schedules of interactive runs must see
them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from node_agent.attempt.procedure import Procedure
from node_agent.native.interactive_run import InteractiveRun
from pancode.kernel.records import RunState
from pancode.kernel.values import replace as changed
from pancode.runs import messages, run_continuation
from pancode.runs.admission import resolution
from pancode.runs.life import conversation
from pancode.sessions import service as words
from pancode.sessions.session import load_chain
from tests.simulation.kinds import INTERACTIVE_RUNS
from tests.simulation.planted import Bug, Plant, _to


def _tries_again(patch: pytest.MonkeyPatch) -> None:
    as_interactive_run = conversation.as_interactive_run

    def patient(*said: Any, **more: Any) -> Any:
        return replace(as_interactive_run(*said, **more), attempts=3)

    patch.setattr(words, "as_interactive_run", patient)
    patch.setattr(run_continuation, "as_interactive_run", patient)


_turn = InteractiveRun._run_turn


def _synced_late(interactive_run: InteractiveRun, *said: Any) -> None:
    voice: Any = interactive_run._loop.voice
    sync, voice.sync = voice.sync, lambda: None
    _turn(interactive_run, *said)
    voice.sync = sync
    sync()


def _heard_unsynced(interactive_run: InteractiveRun) -> str:
    return interactive_run._words.new()


def _looks_at_no_wish(interactive_run: InteractiveRun) -> None:
    interactive_run._loop.voice.flush()


_say = messages.send_message


def _begins_at_once(core: Any, around: Any, text: str, said: str, by: str, token: Any = None) -> Any:
    with core.ports.ledger.transaction() as tx:
        session = load_chain(tx, text)
    if session.newest.state is not RunState.RUNNING:
        return _say(core, around, text, said, by, token)
    old = changed(session.newest, state=RunState.ENDED)
    begun = run_continuation.continue_run(core, around, old, said, by, session=session.id)
    return messages.SentMessage(begun.run, "begins", begun=begun)


_tell = Procedure.tell


def _told_to_another(procedure: Procedure, message: Any) -> None:
    others = [
        entry.identity for entry in procedure._context.journal.live() if entry.identity != message.identity
    ]
    _tell(procedure, message.model_copy(update={"identity": others[0]}) if others else message)


def _reserves_an_estimate(patch: pytest.MonkeyPatch) -> None:
    estimate = resolution.estimate_cost

    def small(*said: Any) -> Any:
        return replace(estimate(*said), usd=Decimal("0.30"))

    patch.setattr(resolution, "estimate_cost", small)


def _bug(name: str, plant: Plant, first: int = 0) -> Bug:
    return Bug(name, INTERACTIVE_RUNS, plant, first=first)


INTERACTIVE_RUN_BUGS = (
    _bug("words are sent again after a reboot", _tries_again),
    _bug("a turn is synced after its model was asked", _to(InteractiveRun, "_run_turn", _synced_late)),
    _bug(
        "words that are heard in a turn are not synced",
        _to(InteractiveRun, "_take_more", _heard_unsynced),
        245,
    ),
    _bug("a cancelled turn calls on", _to(InteractiveRun, "_look", _looks_at_no_wish)),
    _bug(
        "the next interactive run begins before the receipt of the one before",
        _to(messages, "send_message", _begins_at_once),
    ),
    _bug("words of another session are taken", _to(Procedure, "tell", _told_to_another)),
    _bug("an interactive run holds what is expected of it", _reserves_an_estimate),
)
