"""Pages of the queue, of workflows and their steps, and of the inbox."""

from __future__ import annotations

from pancode.interfaces.tui.page import (
    Json,
    Line,
    Page,
    PageMoment,
    PagePlace,
    PageRow,
    format_span,
    make_fact_line,
    make_line,
)
from pancode.kernel.formatting import (
    cost_of,
    draw_glyph,
    escape_line,
    escape_text,
    format_status,
    format_title,
    format_usd,
    style_of,
)

_TITLE = 30
"""Columns of a task's first line in the inbox."""


def draw_queue(answers: Json, about: str, moment: PageMoment) -> Page:
    """What waits in each queue, in order, with the reason."""
    shape = answers["queues"]
    above = [make_line(f"the whole fleet is paused: {shape['paused']}", "yellow")] if shape["paused"] else []
    rows = []
    for one in shape["queues"]:
        if one["paused"]:
            above.append(make_line(f"{one['name']} is paused: {one['paused']}", "yellow"))
        rows += [_job(one, job) for job in one["orders"]]
    head = ("RUN", "QUEUE", "WAITS FOR", "AGENT", "PRIORITY", "REASON")
    return Page(tuple(above), head, tuple(rows), ("PRIORITY", "AGENT"), "REASON", "nothing waits")


def _job(queue: Json, job: Json) -> PageRow:
    cells = (job["run"], queue["name"], format_span(job["waiting_s"]), job["agent"], str(job["priority"]))
    return PageRow(job["run"], "run", (*cells, job["reason"]), job, PagePlace("run", job["run"]))


def draw_workflows(answers: Json, about: str, moment: PageMoment) -> Page:
    """The newest workflows, newest first."""
    rows = tuple(
        PageRow(
            one["workflow"], "workflow",
            (
                one["workflow"], format_status(one), one["kind"], _title(one), _done(one),
                format_usd(one["cost"]["usd"]),
                moment.between(one["created_at"], one["finished_at"]), one["reason"],
            ),
            one, PagePlace("workflow", one["workflow"]),
        )
        for one in answers["workflows"]["workflows"]
    )  # fmt: skip
    head = ("WORKFLOW", "STATE", "KIND", "NAME", "STEPS", "COST", "TOOK", "REASON")
    empty = "no workflow yet; try: pancode batch, chain or race"
    return Page((), head, rows, ("KIND", "TOOK", "COST"), "REASON", empty)


def _title(workflow: Json) -> str:
    """Return its name; where nobody gave it one, the first line of its first task."""
    named = workflow["name"] != workflow["kind"] or not workflow["steps"]
    return str(workflow["name"]) if named else format_title(workflow["steps"][0]["task"])


def _done(workflow: Json) -> str:
    """Return how many steps are done, of how many, and how many have failed."""
    states = [step["state"] for step in workflow["steps"]]
    failed = sum(state in ("failed", "refused") for state in states)
    return f"{states.count('done')}/{len(states)}" + (f", {failed} failed" if failed else "")


def draw_workflow(answers: Json, about: str, moment: PageMoment) -> Page:
    """One workflow with its steps; Enter on a step shows its run."""
    shape = answers["workflow"]
    cost = shape["cost"]
    cap = f" of {format_usd(cost['budget_usd'])}" if cost["budget_usd"] is not None else ""
    state = format_status(shape)
    said = f"  {shape['kind']} {shape['workflow']}  {escape_line(shape['reason'])}"
    above = [
        make_line(_title(shape), "bold"),
        ((f"{draw_glyph(state)} {state}", style_of(state)), (said, "")),
        make_fact_line(
            "cost",
            f"{format_usd(cost['usd'])}{cap}, {format_usd(cost['held_usd'])} held, {cost['runs']} runs",
        ),
    ]
    if shape["winner"]:
        above.append(make_fact_line("winner", shape["winner"], "green"))
    rows = tuple(_step(step, moment) for step in shape["steps"])
    head = ("STEP", "STATE", "NEEDS", "ROUND", "RUN", "TOOK", "REASON")
    spare = ("ROUND", "TOOK", "NEEDS")
    return Page(tuple(above), head, rows, spare, "REASON", "no step", shape=shape)


def _step(step: Json, moment: PageMoment) -> PageRow:
    took = moment.between(step["started_at"], step["finished_at"])
    rounds = f"{step['round']}/{step['most']}" if step["most"] > 1 else ""
    cells = (step["name"], step["state"], ", ".join(step["needs"]), rounds, step["run"] or "", took)
    enters = PagePlace("run", step["run"]) if step["run"] else None
    shape = {"run": step["run"]} if step["run"] else {}
    return PageRow(step["name"], "step", (*cells, step["reason"]), shape, enters)


def draw_sessions(answers: Json, about: str, moment: PageMoment) -> Page:
    """The newest sessions, the one that was at work last first; Enter talks with one."""
    rows = tuple(
        PageRow(
            one["session"], "session",
            (
                one["session"], one["state"], one["node"] or "", one["agent"], one["model"] or one["runtime"],
                str(sum(interactive_run["turns"] for interactive_run in one["interactive_runs"])), _cost(one),
                moment.ago(one["changed_at"]), one["asks"]["words"] if one["asks"] else one["last_words"],
            ),
            one,
        )
        for one in answers["sessions"]["sessions"]
    )  # fmt: skip
    head = ("SESSION", "STATE", "NODE", "AGENT", "MODEL", "TURNS", "COST", "SINCE", "WORDS")
    spare = ("MODEL", "TURNS", "AGENT", "SINCE")
    return Page((), head, rows, spare, "WORDS", "no session yet; begin one: pancode chat")


def _cost(session: Json) -> str:
    return cost_of({"usage": session["usage"], "outcome": session["interactive_runs"][-1]["outcome"]})


def draw_item(answers: Json, about: str, moment: PageMoment) -> Page:
    """One item of the inbox, with all of its words."""
    needs = (need for group in answers["now"]["groups"] for need in group["needs"])
    found = next(({**need, **need["item"]} for need in needs if need["item"] and need["id"] == about), None)
    if found is None:
        return Page(lines=(make_line("it waits no longer: somebody has answered it"),))
    return Page(lines=tuple(draw_question(found, moment)), shape=found)


def draw_question(item: Json, moment: PageMoment, *, with_words: bool = True) -> list[Line]:
    """What is asked, and all that an approval covers. `with_words`: the question itself, too."""
    plan = item["plan"] or {}
    facts = {"kind": item["kind"], "since": moment.at(item["since"]), "run": item["run"]}
    return [
        *(make_fact_line(name, words) for name, words in facts.items()),
        (),
        *(map(make_line, [*escape_text(item["words"]).split("\n"), ""]) if with_words else ()),
        *([make_line("THE TASK", "bold")] if plan else []),
        *(map(make_line, [*escape_text(str(plan["task"])).split("\n"), ""]) if plan else ()),
        *(make_fact_line(f"{number}", one) for number, one in enumerate(item["choices"], start=1)),
        make_fact_line("command", item["command"]),
    ]
