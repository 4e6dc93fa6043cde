"""The views by name: what each asks of the API, and the presenter that makes its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pancode.interfaces.client.client import path_of
from pancode.interfaces.tui.page import Json, Page, PageMoment
from pancode.interfaces.tui.pages import budget, issues, nodes, now, runs, texts, workflows

MOST_RUNS, MOST_WORKFLOWS, MOST_SESSIONS = 200, 50, 50


@dataclass(frozen=True, slots=True)
class ApiAsk:
    """One GET. `raw`: the answer is bytes. `once`: it does not change, so it is not asked for again."""

    path: str
    query: Mapping[str, object] = field(default_factory=dict)
    raw: bool = False
    once: bool = False


Asks = Mapping[str, ApiAsk]
SUMMARY: Asks = {"fleet": ApiAsk("/v1/fleet"), "now": ApiAsk("/v1/now"), "budget": ApiAsk("/v1/budget")}
"""The answer for the head of every page."""
_RUNS = ApiAsk("/v1/runs", {"limit": MOST_RUNS})
_WORKS = ApiAsk(path_of("work"))


@dataclass(frozen=True, slots=True)
class PageView:
    """`words`: for the list of resources; empty: it is entered from another view only.

    `wraps`: long lines are broken at blanks.
    """

    page: Callable[[Json, str, PageMoment], Page]
    asks: Callable[[str], Asks]
    words: str = ""
    wraps: bool = True


def _with(**asks: ApiAsk) -> Callable[[str], Asks]:
    return lambda about: asks


def _run(about: str) -> Asks:
    return {"run": ApiAsk(path_of("runs", about)), **_why(about)}


def ask_issue(name: str) -> ApiAsk:
    """Return the question for an issue with its text, which its tracker answers."""
    return ApiAsk(path_of("issues", name), once=True)


def _why(about: str) -> Asks:
    return {"why": ApiAsk(path_of("runs", about, "why"))}


VIEWS: Mapping[str, PageView] = {
    "status": PageView(now.draw_now, _with(), "what needs you, what runs and what waits"),
    "runs": PageView(runs.draw_runs, _with(runs=_RUNS), "the newest runs"),
    "nodes": PageView(nodes.draw_nodes, _with(), "the nodes of the fleet"),
    "waiting": PageView(workflows.draw_queue, _with(queues=ApiAsk("/v1/queues")), "what waits, and why"),
    "workflows": PageView(
        workflows.draw_workflows,
        _with(workflows=ApiAsk("/v1/workflows", {"limit": MOST_WORKFLOWS})),
        "batches, chains and races",
    ),
    "sessions": PageView(
        workflows.draw_sessions,
        _with(sessions=ApiAsk("/v1/sessions", {"limit": MOST_SESSIONS})),
        "agents that you talk with; Enter continues with one",
    ),
    "issues": PageView(
        issues.draw_issues,
        _with(works=_WORKS, projects=ApiAsk("/v1/projects")),
        "issues: what is worked on, and the open ones of each tracker; b begins",
    ),
    "inbox": PageView(now.draw_needs, _with(), "everything that needs you, in groups"),
    "budget": PageView(budget.draw_budget, _with(cost=ApiAsk("/v1/cost", {"by": "agent"})), "costs, limits"),
    "agents": PageView(budget.draw_agents, _with(workers=ApiAsk("/v1/workers")), "who works where"),
    "models": PageView(nodes.draw_models, _with(models=ApiAsk("/v1/models")), "models with tier and context"),
    "run": PageView(runs.draw_run, _run),
    "why": PageView(runs.draw_why, _why),
    "compare": PageView(
        runs.draw_compared,
        lambda about: {
            name: _run(run)["run"] for name, run in zip(("one", "other"), about.split(), strict=True)
        },
    ),
    "log": PageView(lambda answers, about, moment: Page(shape={"run": about}), _with()),
    "diff": PageView(
        texts.draw_diff,
        lambda about: {"diff": ApiAsk(path_of("runs", about, "diff"), {"now": 1}, raw=True, once=True)},
        wraps=False,
    ),
    "receipt": PageView(
        texts.draw_receipt, lambda about: {"verify": ApiAsk(path_of("runs", about, "verify"), once=True)}
    ),
    "node": PageView(nodes.draw_node, lambda about: {"node": ApiAsk(path_of("nodes", about))}),
    "workflow": PageView(
        workflows.draw_workflow, lambda about: {"workflow": ApiAsk(path_of("workflows", about))}
    ),
    "item": PageView(workflows.draw_item, _with()),
    "open": PageView(
        issues.open_issues,
        lambda about: {"works": _WORKS, "issues": ApiAsk("/v1/issues", {"project": about}, once=True)},
    ),
}
ALSO = {
    **dict.fromkeys(("now", "top"), "status"),
    **dict.fromkeys(("machines", "machine", "node", "fleet"), "nodes"),
    **dict.fromkeys(("money", "cost"), "budget"),
    **{"queue": "waiting", "run": "runs", "workflow": "workflows", "issue": "issues"},
    **{"chats": "sessions", "workers": "agents", "q": "quit", "exit": "quit"},
}
"""Other words for resources."""


def list_resources() -> dict[str, str]:
    """The words that `:` takes, each with what it shows."""
    return {**{name: view.words for name, view in VIEWS.items() if view.words}, "quit": "leave"}


def find_resource(typed: str) -> str | None:
    """The resource that a user means: its name, another word for it, or an unambiguous beginning."""
    word = typed.strip().lstrip(":").casefold()
    known = list_resources()
    if word in known or word in ALSO:
        return ALSO.get(word, word)
    near = [name for name in known if word and name.startswith(word)]
    return near[0] if len(near) == 1 else None
