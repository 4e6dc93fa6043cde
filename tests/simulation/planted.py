"""Bugs planted on purpose, one rule taken away each: the simulation must see every one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from node_agent.agent import agent, concurrency, control, intake
from node_agent.attempt import accept, finishing, procedure, starting
from node_agent.attempt.context import Case
from node_agent.attempt.plans import setup_plan
from node_agent.attempt.records import JournalState
from node_agent.wire import signing
from node_agent.wire.failure import REBINDABLE
from node_agent.wire.identity import Mark
from pancode.budget import books
from pancode.fleet import inventory
from pancode.kernel import node
from pancode.kernel.node import Listening
from pancode.kernel.records import WaitReason
from pancode.runs import follow_on_actions, inbound
from pancode.runs import reconcile as rounds
from pancode.runs.core import Core
from pancode.runs.life import binding, ends, node_events
from pancode.runs.life.case import RunCase
from pancode.runs.life.retries import Retry, RetryCause
from pancode.runs.nodes import heartbeats
from pancode.runs.placement import binding as bind
from pancode.runs.placement import placement
from pancode.runs.receipts import rules as receipts
from pancode.runs.receipts import settlement
from pancode.runs.receipts.rules import Judged, Ruling
from pancode.runs.restored import requests
from tests.fakes.epochs import MemoryEpochs

Plant = Callable[[pytest.MonkeyPatch], None]

_ALWAYS = Retry(RetryCause.LOST, 1, 1, 1)


@dataclass(frozen=True)
class Bug:
    """`kind`: the class of schedules in which it must show within `seeds` seeds."""

    name: str
    kind: str
    plant: Plant
    seeds: int = 25
    first: int = 0
    """Where to begin: a seed shortly before one that is known to see it, as the whole must stay quick."""


def _to(target: Any, name: str, value: Any) -> Plant:
    return lambda patch: patch.setattr(target, name, value)


def _nothing(*_: Any, **__: Any) -> None:
    """What is left of a rule that was taken away."""


class _Past:
    def is_past(self, now: Any) -> bool:
        return True


def _skip_gaps(state: JournalState, ahead: set[int]) -> JournalState:
    return replace(state, control_seq=max({state.control_seq, *ahead}))


def _forget_stop(signal: Any, made: Any) -> Any:
    return _not_taken(signal, made.put(replace(made.run, stop_asked=None)))


_not_taken = node_events.NotTaken.apply


def _at_once(before: Any, least: int, most: int, seen: Any, now_ms: int, intervals: Any) -> Any:
    return _paced(before and replace(before, since_ms=now_ms - 10**9), least, most, seen, now_ms, intervals)


_paced = concurrency.update_concurrency


def _accept_without_archive(patch: pytest.MonkeyPatch) -> None:
    accepted = settlement._accept_receipt

    def hasty(work: Any, letter: Any, proofs: Any) -> None:
        accepted(work, letter, replace(proofs, kept=[]))

    patch.setattr(settlement, "_accept_receipt", hasty)


def _as_if_nothing_happened(case: Any, record: Any, rebooted: bool) -> Any:
    return _set_up(case, record, False)


_set_up = starting._set_up_ended


def _ask_only_the_ledger(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryEpochs, "last", lambda epochs: 0)
    patch.setattr(heartbeats, "_catch_up", _nothing)


def _believe_everything(patch: pytest.MonkeyPatch) -> None:
    def verified(envelope: Any, keys: Any) -> Any:
        return next(iter(keys.values())), envelope.body()

    patch.setattr(signing, "_verify_payload", verified)


def _believe_every_claim(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(receipts, "_is_anothers", lambda *_: False)
    patch.setattr(receipts, "_wrong_name", lambda *_: "")
    patch.setattr(receipts, "_first_lie", lambda *_: "")


def _silent_in_a_new_epoch(newest: Any, epoch: int, now_ms: int, started: int, gaps: Any) -> tuple[int, bool]:
    echo = newest.heartbeat.echo if newest else None
    if echo is None or echo.epoch != epoch:
        return node.awake_since(started, now_ms, gaps), False
    return node.awake_since(min(echo.ms, now_ms), now_ms, gaps), True


def _heard_is_heard(core: Any, heartbeat: Any) -> None:
    core.live.contacts.met.add(heartbeat.node)
    core.live.contacts.echoed_ms[heartbeat.node] = core.ports.clock.boot_ms()


def _lost_by_state(patch: pytest.MonkeyPatch) -> None:
    made = node.build_view

    def view(*args: Any) -> Any:
        seen = made(*args)
        return replace(seen, given_up=seen.state is node.NodeState.LOST)

    patch.setattr("pancode.runs.core.build_view", view)


def _upload_only(case: Any) -> None:
    finishing.upload_outputs(case)


def _retry_at_wall_time(work: Any, run: Any) -> bool:
    if run.waits in (WaitReason.WORKFLOW, WaitReason.USER):
        return False
    return run.retry_at_ms is None or run.retry_at_ms <= work.core.wall_ms()


_judge = accept.judge_job


def _anybodys_job(opened: Any, view: Any) -> Any:
    return _judge(opened, replace(view, node=opened.job.node, fleet=opened.job.fleet))


def _set_up_all_the_same(patch: pytest.MonkeyPatch) -> None:
    put_back = starting._put_back_or_plan

    def forgetful(case: Any, work: Any) -> Any:
        ready, _ = put_back(case, work)
        if not ready.restored:
            return ready, None
        case.context.runner.prepare(case.setup, setup_plan(case.job, work, case.folder))
        return replace(ready, restored=False), None

    patch.setattr(starting, "_put_back_or_plan", forgetful)


def _hold_nothing(place: Any) -> Plant:
    return _to(place, "list_held", lambda tx: frozenset())


def _forget_elsewhere(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(node_events, "_REBIND", REBINDABLE)
    patch.setattr(placement, "_explain_limit", lambda run, view: "")


def _give_nothing_back(patch: pytest.MonkeyPatch) -> None:
    for place in (ends, node_events):
        patch.setattr(place, "give_back", lambda made, *_: made)


BUGS = (
    Bug(
        "the binder does not count slots",
        "calm",
        _to(bind, "free_slots", lambda view, leases, freed, hurry: 5),
    ),
    Bug("an offer is freed before its start-by", "races", _to(inbound, "start_by_of", lambda lease: _Past())),
    Bug("a hold always fits", "money", _to(books, "is_within_ceilings", lambda *_: True)),
    Bug(
        "a node's own ceiling is not asked",
        "money",
        _to(placement, "_explain_no_room", lambda *_: ""),
        60,
    ),
    Bug("holds of yesterday stay", "clocks", _to(rounds, "lapse_reserved", _nothing), 60),
    Bug("what an owner allows ends runs", "owners", _forget_elsewhere, 40),
    Bug("a lost writer is run again unasked", "slow", _to(ends, "after_failure", lambda *_, **__: _ALWAYS)),
    Bug(
        "sleep of the coordinator counts as silence",
        "sleeper",
        _to(Listening, "looked", lambda self, now, tolerance, reached: replace(self, last_ms=now)),
    ),
    Bug(
        "evidence is not looked at",
        "depot",
        _to(settlement, "judge_evidence", lambda *_: Judged(Ruling.ACCEPT)),
    ),
    Bug("set-up runs over what was put back", "calm", _set_up_all_the_same),
    Bug("holds do not go back", "cuts", _give_nothing_back, 60),
    Bug(
        "a node skips control numbers that were lost", "words", _to(control, "_count_applied", _skip_gaps), 40
    ),
    Bug(
        "a stop is forgotten when the job is freed",
        "races",
        _to(node_events.NotTaken, "apply", _forget_stop),
        25,
        50,
    ),
    Bug("any lease may win", "slow", _to(RunCase, "newest", property(lambda self: True))),
    Bug("signatures are not checked", "enemy", _believe_everything),
    Bug(
        "claims are not compared with the job",
        "hostile",
        _believe_every_claim,
        25,
        3,
    ),
    Bug(
        "a node is believed about another's lease",
        "hostile",
        _to(inbound, "_is_its_own", lambda *_: True),
        25,
        24,
    ),
    Bug("a false receipt ends what is over", "hostile", _to(receipts, "_may_be_ended_by", lambda *_: True)),
    Bug(
        "what was replaced is not told to end",
        "slow",
        _to(binding, "end_lost_leases", lambda made, why: made),
        25,
        28,
    ),
    Bug("accepted before it was archived", "calm", _accept_without_archive),
    Bug(
        "a node cleans up before it is answered",
        "cuts",
        lambda patch: patch.setitem(procedure.PROCEDURE, Mark.RECEIPTED, finishing.clean_up),
    ),
    Bug("only the ledger knows of epochs", "restored", _ask_only_the_ledger),
    Bug(
        "a restored ledger continues with the numbers that it remembers",
        "restored",
        _to(Core, "highest_lease", lambda core, run: run.lease),
        25,
        80,
    ),
    Bug("a restored ledger begins what it has as pending", "restored", _hold_nothing(bind), 50),
    Bug("a restored ledger advances workflows", "restored_flows", _hold_nothing(follow_on_actions), 50),
    Bug("a restored ledger does not ask the nodes", "restored", _to(requests, "ask_nodes", _nothing), 50),
    Bug("a node takes jobs that are for others", "enemy", _to(intake, "judge_job", _anybodys_job), 60),
    Bug("a node starts what was stopped before", "cuts", _to(accept, "_find_refusal", lambda *_: None), 80),
    Bug("a lost commit is not sent again", "depot", _to(finishing, "_send_again", _upload_only)),
    Bug("what was lost is never settled", "slow", _to(books, "settle_unknown", lambda *_: [])),
    Bug(
        "a pause lasts until the wall clock comes back",
        "clocks",
        _to(bind, "_is_due", _retry_at_wall_time),
        60,
        12,
    ),
    Bug(
        "a new epoch makes everybody silent",
        "hostile",
        _to(node, "measure_silence", _silent_in_a_new_epoch),
        80,
    ),
    Bug(
        "an old heartbeat is as good as a new one",
        "enemy",
        _to(heartbeats, "_note_echo", _heard_is_heard),
        80,
    ),
    Bug("nothing is lost on a node that was taken out", "removal", _lost_by_state, 25, 7),
    Bug(
        "the next attempt stays when the lost one comes back",
        "slow",
        _to(receipts, "_withdraw_next", lambda made: made),
        25,
        22,
    ),
    Bug("a replaced key leaves its jobs open", "disks", _to(inventory, "_part_with", _nothing)),
    Bug(
        "a journal that forgot is waited for for ever",
        "disks",
        _to(inbound, "_doubt_attempt", _nothing),
        25,
        33,
    ),
    Bug(
        "a wait names a cause that is not there",
        "calm",
        _to(placement, "_not_now", lambda v, f, h: f"{v.node.name} is draining: x"),
    ),
    Bug(
        "a machine that is strained flaps",
        "strained",
        _to(agent, "update_concurrency", _at_once),
    ),
    Bug(
        "what lay ready before a power cut is started",
        "clocks",
        _to(Case, "was_prepared_before", property(lambda case: False)),
    ),
    Bug(
        "a plan of before a power cut is used",
        "clocks",
        _to(starting, "_clear", _nothing),
    ),
    Bug(
        "copies are kept of what a power cut has torn",
        "clocks",
        _to(starting, "_set_up_ended", _as_if_nothing_happened),
        25,
        60,
    ),
)
