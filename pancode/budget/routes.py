"""Routes about money: budgets, costs and workers; also the inbox, the brief and reports."""

from __future__ import annotations

from pancode.agents.agents import find_agent
from pancode.budget import answers
from pancode.budget.books import PERIODS, repo_scope, session_scope
from pancode.fleet.fleet import must_exist
from pancode.interfaces.http.access.rights import BUDGETS, SETTLES
from pancode.interfaces.http.bodies import CeilingBody, ScopeBody, SettleBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.errors import UsageError
from pancode.kernel.names import find_nearest
from pancode.kernel.pages import MOST_ROWS
from pancode.reports.budget_report import Configured, report_budget
from pancode.reports.cost_report import report_cost
from pancode.runs.ceilings import set_ceilings, settle_by_hand, unset_ceiling
from pancode.runs.lists import since_ms
from pancode.runs.views import find_series, get_run


@Verb(answers.BUDGET, command="budget show", query=("all",))
def _budget(context: ApiContext, call: ApiCall) -> answers.BudgetShape:
    """Show spent, reserved and remaining amounts."""
    return report_budget(context.core, Configured.of(context.coordinator.around({})), call.flag("all"))


@Verb(answers.SET_CEILING, CeilingBody, "budget set", pokes=True, right=BUDGETS)
def _set_ceiling(context: ApiContext, call: ApiCall[CeilingBody]) -> answers.BudgetShape:
    """Set a ceiling."""
    set_ceilings(context.core, budget_scope(context, call.body.scope), call.body.ceilings(), call.body.by)
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
        near = find_nearest(kind, {*_ALONE, *_NAMED})
        raise UsageError(
            f"budget scope {scope!r} not found",
            why=f"did you mean {near}?" if near else "",
            fix="use day, week, month, node:NAME, agent:NAME, repo:PATH, session or session:ID",
            code="bad_scope",
        )
    return kind, name


def _resolve_scope(context: ApiContext, kind: str, name: str) -> str:
    """Return the scope as named in the books: a session by any of its runs, a repository by any folder in it.

    NotFoundError for a run that does not belong to a session.
    """
    if kind == "session" and (session := find_series(context.core, kind, name)):
        return session_scope(session.id)
    if kind == "repo":
        return repo_scope(context.project_of(name) or name)
    return f"{kind}:{name}" if name else kind


@Verb(answers.UNSET_CEILING, ScopeBody, "budget set", pokes=True, right=BUDGETS)
def _reset_ceiling(context: ApiContext, call: ApiCall[ScopeBody]) -> answers.BudgetShape:
    """Restore the configured ceiling.

    Nodes, agents and repositories that no longer exist are accepted, since they may have left a ceiling.
    """
    unset_ceiling(context.core, _resolve_scope(context, *_budget_scope(call.body.scope)), call.body.by)
    return _budget(context, call)


@Verb(answers.SETTLE, SettleBody, "budget settle", pokes=True, right=SETTLES)
def _settle(context: ApiContext, call: ApiCall[SettleBody]) -> answers.SettledAnswer:
    """Set an unknown or disputed cost."""
    body = call.body
    run = get_run(context.core, body.run)
    settled = settle_by_hand(context.core, run.id, body.usd, body.by)
    return {"run": run.id, "usd": f"{body.usd:f}", "attempts": settled}


_COST = ("by", "since", "limit", "agent", "node", "repository")


@Verb(answers.COST, command="budget spent", query=_COST)
def _cost(context: ApiContext, call: ApiCall) -> answers.CostTable:
    """Show what runs have cost, by one of their properties."""
    by, limit = call.query.get("by", "run"), call.number("limit", 50, MOST_ROWS)
    wanted = dict(call.query)
    if "repository" in wanted:
        wanted["repository"] = context.project_of(wanted["repository"]) or wanted["repository"]
    known = context.known(wanted)
    only: dict[str, str] = {name: known[name] for name in ("agent", "node", "repository") if name in known}
    return report_cost(context.core, by, since_ms(context.core, call.query.get("since")), limit, only)
