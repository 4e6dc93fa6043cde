"""Suspends idle interactive runs, so that another run that only lacks a slot can begin."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial

from node_agent.wire.identity import Mark
from pancode.kernel.records import Lease, LeaseState, Run, WaitReason
from pancode.runs.facts import SessionTurn
from pancode.runs.life.conversation import may_give_way
from pancode.runs.life.waits import GivesWay
from pancode.runs.placement.placement import Standing, Unplaced, lacks_slot_at
from pancode.runs.unit_of_work import Work
from pancode.runs.views import session_of, words_of


def choose_to_suspend(interactive_runs: Iterable[Run], now_ms: int, idle_ms: int) -> Run | None:
    """Return the interactive run that has waited longest for a message, if for at least `idle_ms`."""
    idle = (one for one in interactive_runs if now_ms - _since_ms(one) >= idle_ms)
    return min(idle, key=lambda one: (_since_ms(one), one.id), default=None)


def _since_ms(run: Run) -> int:
    turn = SessionTurn.of(run).turn
    return 0 if turn is None else turn.at_ms


class GivingWay:
    """Suspends idle interactive runs in a pass of binding, one for each run that only lacks a slot. The
    requests are stored in memory and, for a restarted coordinator, in the interactive run's terms."""

    def __init__(self, work: Work, leases: Collection[Lease], standing: Standing) -> None:
        self._work, self._leases, self._standing = work, leases, standing
        self._known, self._boot = work.core.live.binding, work.core.ports.clock.boot_ms()
        self._looks = self._boot - self._known.givers_ms >= work.core.rules.look_ms
        self._interactive_runs: dict[str, list[Run]] | None = None

    def why(self, waiting: Unplaced) -> str:
        """Suspend a session for the run if possible; return why the run waits, naming that session."""
        if waiting.kind is not WaitReason.NO_SLOT:
            return waiting.why
        session, asked_ms = self._known.given_way.get(waiting.run.id, ("", 0))
        is_new = bool(session) and self._boot - asked_ms < self._work.core.rules.gives_way_ms
        if self._looks and not is_new:
            session = self._ask_to_suspend(waiting.run)
        return f"{waiting.why}; session {session} is suspended for it" if session else waiting.why

    def _ask_to_suspend(self, waiting: Run) -> str:
        """Return the session suspended for the run; suspend one now if there is none; empty: impossible."""
        work, core = self._work, self._work.core
        there = [run for node in lacks_slot_at(waiting, self._standing) for run in self._list_active(node)]
        rests = next((run for run in there if SessionTurn.of(run).gives_way == waiting.id), None)
        free = (run for run in there if may_give_way(run, session_of(work.tx, run), words_of(work.tx, run)))
        chosen = rests or choose_to_suspend(free, core.wall_ms(), core.rules.gives_way_ms)
        if chosen is None:
            work.after(partial(self._known.given_way.pop, waiting.id, None))
            return ""
        if rests is None:
            changed = work.signal(chosen, GivesWay(waiting.id))
            for runs in (self._interactive_runs or {}).values():
                runs[:] = [changed if run.id == changed.id else run for run in runs]
        work.after(partial(self._note, waiting.id, chosen.session))
        return chosen.session

    def _list_active(self, node: str) -> list[Run]:
        """Return the interactive runs whose program is active on the node."""
        if self._interactive_runs is None:
            self._interactive_runs = {}
            for lease in self._leases:
                at_work = lease.state is LeaseState.RUNNING and lease.mark == Mark.SPAWNED
                run = self._work.tx.get(Run, lease.run) if at_work else None
                if run is not None and run.lease == lease.lease:
                    self._interactive_runs.setdefault(lease.node, []).append(run)
            self._work.after(partial(setattr, self._known, "givers_ms", self._boot))
        return self._interactive_runs.get(node, [])

    def _note(self, waiting: str, session: str) -> None:
        """Remember for the next passes which session is suspended for the run; drop old entries."""
        new = self._boot - self._work.core.rules.gives_way_ms
        known = {run: one for run, one in self._known.given_way.items() if one[1] > new}
        self._known.given_way = {**known, waiting: (session, self._boot)}
