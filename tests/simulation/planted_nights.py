"""Bugs planted in orders that wait on nodes, one rule taken away each; see `planted`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from node_agent.agent import intake
from node_agent.agent.agent import NodeAgent
from node_agent.agent.control import Controls
from node_agent.agent.snapshots import SnapshotQueue
from node_agent.attempt import accept, records
from node_agent.wire.event import Refused
from node_agent.wire.failure import JobRefusal
from node_agent.wire.identity import HOLDS_SLOT, Mark
from pancode.budget import books
from pancode.runs.life.node_events import NotTaken
from pancode.runs.placement import prefetch
from pancode.runs.placement.prefetch import Lines
from pancode.runs.unit_of_work import Work
from tests.simulation.planted import Bug, _to

NIGHTS = "nights"


def _with(**facts: Any) -> Any:
    """Take up what is held with this in the place of a fact."""
    return lambda job, view: accept.judge_held(job, replace(view, **facts))


def _begin_while_draining(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(intake, "judge_held", _with(draining=False))
    patch.setattr(prefetch, "kept_back", lambda *_: "")


def _take_back_whatever(controls: Any, body: Any) -> None:
    entry = controls._journal.get(body.identity)
    if entry is not None and not entry.final and entry.mark is not Mark.RECEIPTED:
        word = Refused(why=JobRefusal.TAKEN_BACK, detail=body.reason)
        controls._journal.write(
            entry.identity, records.Note(mark=Mark.REFUSED, data={"why": "x"}, say=(word,))
        )
        controls._touched.append(entry.identity)


def _believe_that_it_came_back(patch: pytest.MonkeyPatch) -> None:
    send = Work.send

    def hasty(work: Any, name: str, body: Any) -> None:
        send(work, name, body)
        case = work.case_of(body.identity) if body.kind == "take_back" else None
        if case is not None:
            work.signal_lease(case.lease, NotTaken())

    patch.setattr(Work, "send", hasty)


_end = Controls._end


def _end_what_works(controls: Any, entry: Any, stop: Any) -> None:
    if entry.mark in HOLDS_SLOT:
        _end(controls, entry, stop)


_take_up = NodeAgent._take_up


def _only_with_a_link(agent: Any) -> None:
    if agent.linked:
        _take_up(agent)


def _fetch_later(snapshots: Any, opened: Any) -> None:
    snapshots._known[opened.digest] = opened
    snapshots._over.put((opened, True))


NIGHT_BUGS = (
    Bug("what is held is begun without counting", NIGHTS, _to(intake, "judge_held", _with(free_slots=9))),
    Bug("a drain does not reach what is held", NIGHTS, _begin_while_draining),
    Bug("what has begun is taken back", NIGHTS, _to(Controls, "_take_back", _take_back_whatever), 25, 38),
    Bug("bound again before the node has given it back", NIGHTS, _believe_that_it_came_back),
    Bug("a stop does not reach what is held", NIGHTS, _to(Controls, "_end", _end_what_works)),
    Bug("what is held waits for a link", NIGHTS, _to(NodeAgent, "_take_up", _only_with_a_link)),
    Bug("its snapshot is fetched when it begins", NIGHTS, _to(SnapshotQueue, "begin", _fetch_later)),
    Bug(
        "a slot is promised to what waits and given away",
        NIGHTS,
        _to(Lines, "less", lambda lines, free: dict(free)),
    ),
    Bug("what goes ahead holds its estimate", NIGHTS, _to(books, "raise_reserved", lambda *_: [])),
)
