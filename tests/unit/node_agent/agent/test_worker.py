"""Threads are used again, and end when there is nothing to do; no work is lost between the two."""

from __future__ import annotations

import threading
from queue import SimpleQueue

from node_agent.agent.worker import Crew

PATIENCE_S = 20


def until_idle(crew: Crew) -> bool:
    """Whether somebody waits for work, in the end."""
    nobody = threading.Event()
    return any(crew._idle or nobody.wait(0.001) for _ in range(PATIENCE_S * 1000))


def test_the_next_work_goes_to_who_has_ended_its_own() -> None:
    crew, ran = Crew(), SimpleQueue[threading.Thread]()
    seen = []
    for _ in range(3):
        crew.do(lambda: ran.put(threading.current_thread()))
        seen.append(ran.get(timeout=PATIENCE_S))
        assert until_idle(crew)
    assert len(set(seen)) == 1


def test_what_is_asked_at_once_runs_at_once() -> None:
    crew, all_there = Crew(), threading.Barrier(4)
    for _ in range(3):
        crew.do(lambda: (all_there.wait(PATIENCE_S), None)[1])
    all_there.wait(PATIENCE_S)


def test_none_is_lost_while_threads_end() -> None:
    """A thread that gives up at once is asked as often as not in the moment in which it ends."""
    crew, ran = Crew(idle_s=0), SimpleQueue[int]()
    for number in range(500):
        crew.do(lambda number=number: ran.put(number))  # type: ignore[misc]
    assert sorted(ran.get(timeout=PATIENCE_S) for _ in range(500)) == list(range(500))


def test_who_has_nothing_to_do_ends() -> None:
    crew, ran = Crew(idle_s=0), SimpleQueue[threading.Thread]()
    crew.do(lambda: ran.put(threading.current_thread()))
    thread = ran.get(timeout=PATIENCE_S)
    thread.join(PATIENCE_S)
    assert not thread.is_alive() and not crew._idle
