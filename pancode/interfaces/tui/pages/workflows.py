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
from pancode.kernel.formatting import cost_of, escape_line, escape_text, format_usd, style_of


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
    cells = (
        job["run"],
        queue["name"],
        format_span(job["waiting_s"]),
        job["agent"],
        str(job["priority"]),
    )
    return PageRow(job["run"], "run", (*cells, job["reason"]), job, PagePlace("run", job["run"]))


def draw_workflows(answers: Json, about: str, moment: PageMoment) -> Page:
    """The newest workflows, newest first."""
    rows = tuple(
        PageRow(
            one["workflow"], "workflow",
            (
                one["workflow"], one["state"], one["kind"], one["name"], _done(one),
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
    first: Line = ((shape["workflow"], "bold"), ("  ", ""), (shape["state"], style_of(shape["state"])))
    above = [
        (*first, (f"  {shape['kind']} {escape_line(shape['name'])}  {escape_line(shape['reason'])}", "")),
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


def draw_inbox(answers: Json, about: str, moment: PageMoment) -> Page:
    """What waits for the user, oldest first."""
    rows = tuple(
        PageRow(
            one["id"], "item",
            (one["run"], one["kind"], moment.ago(one["since"]), " / ".join(one["choices"]), one["words"]),
            one, PagePlace("item", one["id"]),
        )
        for one in answers["inbox"]["items"]
    )  # fmt: skip
    rows += tuple(_also(one) for one in answers["inbox"]["also"])
    return Page(
        (), ("RUN", "KIND", "FOR", "CHOICES", "WORDS"), rows, ("FOR",), "WORDS", "nothing waits for you"
    )


def _also(one: Json) -> PageRow:
    """Return the row of a result, tool or machine, which is not a question. Enter shows its run, if any."""
    cells = (one["run"] or "-", "look", "-", "-", f"{one['what']}: {one['command']}")
    enters = PagePlace("run", one["run"]) if one["run"] else None
    return PageRow(one["run"] or one["what"], "run" if one["run"] else "note", cells, one, enters)


def draw_item(answers: Json, about: str, moment: PageMoment) -> Page:
    """One item of the inbox, with all of its words."""
    found = next((one for one in answers["inbox"]["items"] if one["id"] == about), None)
    if found is None:
        return Page(lines=(make_line("it waits no longer: somebody has answered it"),))
    lines = [
        make_fact_line("run", found["run"], "bold"),
        make_fact_line("kind", found["kind"]),
        make_fact_line("since", moment.at(found["since"])),
        (),
        *(make_line(one) for one in escape_text(found["words"]).split("\n")),
        (),
        *(make_fact_line(f"{number}", one) for number, one in enumerate(found["choices"], start=1)),
        make_fact_line("command", found["command"]),
    ]
    return Page(lines=tuple(lines), shape=found)
