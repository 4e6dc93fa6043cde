"""Budget changes by a user: ceilings, and the settlement of attempts of unknown cost."""

from __future__ import annotations

from decimal import Decimal

from pancode.budget import books
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.records import Run, SessionRow, Setting
from pancode.kernel.values import replace
from pancode.runs.core import CEILING, WORK_CEILING, Core
from pancode.runs.life.changes import decide
from pancode.runs.life.ends import Priced
from pancode.runs.unit_of_work import Work, unit_of_work


def set_ceilings(core: Core, scope: str, ceilings: books.Ceilings, by: str) -> None:
    """Set a scope's ceiling in each given currency; its other ceilings remain.

    The scope is `day`, `week`, `month`, `node:NAME`, `agent:NAME`, `repo:PATH`, `session` (the default of all
    sessions) or `session:RUN` (RUN is the session's first run). Costs so far still count.
    """
    if any(amount is not None and amount < 0 for amount in (ceilings.usd, ceilings.tokens, ceilings.ms)):
        raise UsageError("a ceiling must not be negative", fix="pancode budget set 10")
    with unit_of_work(core) as work:
        old = core.ceilings(work.tx, scope if ":" in scope else f"{scope}:")
        session = _find_session(work, scope)
        if ceilings.usd is not None and session is not None:
            cap_session(work, session, ceilings.usd, by)
        elif ceilings.usd is not None:
            work.tx.put(Setting(f"{CEILING}{scope}", f"{ceilings.usd:f}", core.wall_ms(), by))
        agents = {"tokens": ceilings.tokens, "ms": ceilings.ms}
        if any(amount is not None for amount in agents.values()):
            known = core.ceiling_set(work.tx, scope, WORK_CEILING)
            so_far = known.value if known is not None and isinstance(known.value, dict) else {}
            now = {**so_far, **{name: amount for name, amount in agents.items() if amount is not None}}
            work.tx.put(Setting(f"{WORK_CEILING}{scope}", now, core.wall_ms(), by))
        work.audit(
            "budget",
            "info",
            "ceiling set",
            scope=scope,
            old=_text(old, ceilings),
            new=_text(ceilings, ceilings),
            by=by,
        )


def _find_session(work: Work, scope: str) -> SessionRow | None:
    """Return the session of this scope; None if it is another kind of scope."""
    return work.tx.get(SessionRow, scope.partition(":")[2]) if books.is_session(scope) else None


def cap_session(work: Work, session: SessionRow, usd: Decimal | None, by: str) -> None:
    """Set the session's ceiling from now on; None: use the setting's ceiling. Idempotent."""
    if session.ceiling != usd:
        work.tx.put(replace(session, ceiling=usd))
        now, old = ("unset" if one is None else f"{one:f}" for one in (usd, session.ceiling))
        work.tell(session.id, "user", "ceiling of its session", now, f"by {by}; the ceiling was {old}")


def unset_ceiling(
    core: Core, scope: str, by: str, prefixes: tuple[str, ...] = (CEILING, WORK_CEILING)
) -> None:
    """Remove the ceiling that a user set, so that the configured one applies, if any. NotFoundError if none
    is set. `prefixes`: CEILING for dollars, WORK_CEILING for tokens and time, or both."""
    with unit_of_work(core) as work:
        found = [core.ceiling_set(work.tx, scope, prefix) for prefix in prefixes]
        there = [setting for setting in found if setting is not None and setting.name.endswith(scope)]
        session = _find_session(work, scope)
        old = "" if session is None or session.ceiling is None else f"{session.ceiling:f}"
        if session is not None:
            cap_session(work, session, None, by)
        if not there and not old:
            raise NotFoundError(f"no ceiling is set for {scope}", fix="pancode budget show")
        for setting in there:
            work.tx.delete(Setting, setting.name)
        old = ", ".join(filter(None, (old, *(str(setting.value) for setting in there))))
        work.audit("budget", "info", "ceiling unset", scope=scope, old=old, by=by)


def settle_by_hand(core: Core, run_id: str, usd: Decimal, by: str) -> int:
    """Book the actual cost of a run of unknown or disputed cost; return how many attempts were settled."""
    if usd < 0:
        raise UsageError("a cost must not be negative")
    with unit_of_work(core) as work:
        run = work.tx.get(Run, run_id)
        if run is None:
            raise NotFoundError(f"run {run_id} not found", fix="pancode runs")
        changes = decide(work.case(run), Priced(usd, by))
        work.apply(changes)
    if not changes.booked:
        raise UsageError(
            f"the cost of {run_id} is neither unknown nor disputed", fix=f"pancode runs show {run_id}"
        )
    return len({entry.attempt for entry in changes.booked})


def _text(ceilings: books.Ceilings, given: books.Ceilings) -> str | None:
    """Return the ceilings in the currencies of `given`, as text; None if there are none."""
    words = [f"{ceilings.usd:f}"] if given.usd is not None and ceilings.usd is not None else []
    words += [f"{ceilings.tokens} tokens"] if given.tokens is not None and ceilings.tokens is not None else []
    if given.ms is not None and ceilings.ms is not None:
        words.append(f"{books.format_minutes(ceilings.ms)} agent-minutes")
    return ", ".join(words) or None
