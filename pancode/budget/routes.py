"""Routes about money: budgets, costs and workers; also the inbox, the brief and reports."""

from __future__ import annotations

from pancode.agents.agents import find_agent
from pancode.budget.answers import (
    BUDGET,
    COST,
    RECORDS,
    SET_CEILING,
    SETTLE,
    UNSET_CEILING,
    WORKERS,
    BudgetShape,
    CostTable,
    SettledAnswer,
    TrackRecordsAnswer,
    WorkersAnswer,
)
from pancode.budget.books import PERIODS, repo_scope, session_scope
from pancode.fleet.fleet import must_exist
from pancode.interfaces.http.access.rights import BUDGETS, NOTES, SETTLES
from pancode.interfaces.http.bodies import ActBody, CeilingBody, ScopeBody, SettleBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.errors import UsageError
from pancode.kernel.pages import MOST_ROWS
from pancode.people.answers import INBOX, InboxAnswer
from pancode.people.service import list_inbox
from pancode.reports.answers import (
    BRIEFING,
    LOOKED,
    NOW,
    REPORT,
    BriefShape,
    LookedAnswer,
    NowAnswer,
    ReportShape,
)
from pancode.reports.brief import also_waits, make_brief, make_report, record_look
from pancode.reports.budget_report import Configured, report_budget
from pancode.reports.cost_report import report_cost
from pancode.reports.now import see_now
from pancode.reports.track_records import track_records
from pancode.reports.workers import list_workers
from pancode.runs.ceilings import set_ceilings, settle_by_hand, unset_ceiling
from pancode.runs.lists import since_ms
from pancode.runs.views import get_run
from pancode.sessions.session import get_session


@Verb(BUDGET, command="budget show", query=("all",))
def _budget(context: ApiContext, call: ApiCall) -> BudgetShape:
    """Show spent, reserved and remaining amounts."""
    return report_budget(context.core, Configured.of(context.coordinator.around({})), call.flag("all"))


@Verb(SET_CEILING, CeilingBody, "budget set", pokes=True, right=BUDGETS)
def _set_ceiling(context: ApiContext, call: ApiCall) -> BudgetShape:
    """Set a ceiling."""
    body: CeilingBody = call.body
    set_ceilings(context.core, budget_scope(context, body.scope), body.ceilings(), body.by)
    return _budget(context, call)


def budget_scope(context: ApiContext, text: str) -> str:
    """Return the scope as named in the books. UsageError; NotFoundError for an unknown scope."""
    kind, name = _budget_scope(text)
    if kind == "node":
        must_exist(context.core, (name,))
    if kind == "agent":
        find_agent(context.coordinator.around({}).agents(None), name)
    if kind == "repo" and context.project_of(name) is None:
        fix = "give a folder in the repository, as in repo:/home/me/project"
        raise UsageError(f"{name} is not in a git repository", fix=fix, code="no_repository")
    return _resolve_scope(context, kind, name)


_ALONE, _NAMED = ("day", *PERIODS, "session"), ("node", "agent", "repo", "session")
"""The kinds of scope that are valid without a name, and those that require one."""


def _budget_scope(scope: str) -> tuple[str, str]:
    kind, _, name = scope.partition(":")
    if kind not in (_NAMED if name else _ALONE):
        raise UsageError(
            f"budget scope {scope!r} not found",
            fix="use day, week, month, node:NAME, agent:NAME, repo:PATH, session or session:ID",
            code="bad_scope",
        )
    return kind, name


def _resolve_scope(context: ApiContext, kind: str, name: str) -> str:
    """Return the scope as named in the books: a session by any of its runs, a repository by any folder in it.

    NotFoundError for a run that does not belong to a session.
    """
    if kind == "session" and name:
        return session_scope(get_session(context.core, name)["session"])
    if kind == "repo":
        return repo_scope(context.project_of(name) or name)
    return f"{kind}:{name}" if name else kind


@Verb(UNSET_CEILING, ScopeBody, "budget set", pokes=True, right=BUDGETS)
def _reset_ceiling(context: ApiContext, call: ApiCall) -> BudgetShape:
    """Restore the configured ceiling.

    Nodes, agents and repositories that no longer exist are accepted, since they may have left a ceiling.
    """
    body: ScopeBody = call.body
    unset_ceiling(context.core, _resolve_scope(context, *_budget_scope(body.scope)), body.by)
    return _budget(context, call)


@Verb(SETTLE, SettleBody, "budget settle", pokes=True, right=SETTLES)
def _settle(context: ApiContext, call: ApiCall) -> SettledAnswer:
    """Set an unknown or disputed cost."""
    body: SettleBody = call.body
    run = get_run(context.core, body.run)
    settled = settle_by_hand(context.core, run.id, body.usd, body.by)
    return {"run": run.id, "usd": f"{body.usd:f}", "attempts": settled}


_COST = ("by", "since", "limit", "agent", "node", "repository")


@Verb(COST, command="budget spent", query=_COST)
def _cost(context: ApiContext, call: ApiCall) -> CostTable:
    """Show what runs have cost, by one of their properties."""
    by, limit = call.query.get("by", "run"), call.number("limit", 50, MOST_ROWS)
    wanted = dict(call.query)
    if "repository" in wanted:
        wanted["repository"] = context.project_of(wanted["repository"]) or wanted["repository"]
    known = context.known(wanted)
    only: dict[str, str] = {name: known[name] for name in ("agent", "node", "repository") if name in known}
    return report_cost(context.core, by, since_ms(context.core, call.query.get("since")), limit, only)


@Verb(WORKERS, command="agents record")
def _workers(context: ApiContext, call: ApiCall) -> WorkersAnswer:
    """List each agent on each runtime and node: its current work and its record."""
    return {"workers": list_workers(context.core)}


@Verb(RECORDS, command="agents record", query=("agent", "rankings", "limit"))
def _records(context: ApiContext, call: ApiCall) -> TrackRecordsAnswer:
    """Show how well each agent does each kind of work."""
    agent, limit = context.known(call.query).get("agent"), call.number("limit", 50, MOST_ROWS)
    return {"records": track_records(context.core, agent, call.flag("rankings"), limit)}


@Verb(INBOX, command="inbox ls", query=("by",), for_item=True)
def _inbox(context: ApiContext, call: ApiCall) -> InboxAnswer:
    """List everything that waits for a user."""
    found = list_inbox(context.core)
    token = None if call.visitor is None else call.visitor.token
    if token is not None and token.item is not None:
        found = [item for item in found if item["id"] == token.item]
        return {"items": found, "also": []}
    return {"items": found, "also": also_waits(context.core, found, call.query.get("by", "api"))}


@Verb(NOW, command="status", query=("by", "since"))
def _now(context: ApiContext, call: ApiCall) -> NowAnswer:
    """Show what a user needs first: what waits for them, what works, what is in trouble, what has ended."""
    found, by = list_inbox(context.core), call.query.get("by", "api")
    return see_now(context.core, found, by, _budget(context, call), call.query.get("since"))


@Verb(BRIEFING, command="status", query=("by", "since"))
def _brief(context: ApiContext, call: ApiCall) -> BriefShape:
    """Show what happened since the user last looked."""
    context.coordinator.code.look_for_reverts()
    return make_brief(
        context.core, list_inbox(context.core), call.query.get("by", "api"), call.query.get("since")
    )


@Verb(LOOKED, ActBody, "status", right=NOTES)
def _record_looked(context: ApiContext, call: ApiCall) -> LookedAnswer:
    """Record that a user has looked now."""
    record_look(context.core, call.body.by)
    return {"by": call.body.by}


@Verb(REPORT, command="status", query=("by", "since"))
def _report(context: ApiContext, call: ApiCall) -> ReportShape:
    """Show a brief of a longer period, with costs."""
    context.coordinator.code.look_for_reverts()
    by, since = call.query.get("by", "api"), call.query.get("since", "7d")
    return make_report(context.core, list_inbox(context.core), by, since)
