"""Pages of runs: the newest, those that continue now, and one with its story."""

from __future__ import annotations

import re

from pancode.interfaces.tui.page import (
    Json,
    Line,
    Page,
    PageMoment,
    PagePlace,
    PageRow,
    make_fact_line,
    make_line,
)
from pancode.kernel.formatting import (
    cost_of,
    draw_glyph,
    escape_line,
    format_count,
    format_result,
    format_status,
    format_title,
    format_tokens,
    format_usd,
    gate_state,
    style_of,
)


def format_used(run: Json) -> str:
    """Return the run's tokens, in and out together; `-` for none."""
    total = run["usage"]["input_tokens"] + run["usage"]["output_tokens"]
    return format_count(total) if total else "-"


def _row(run: Json, *cells: str) -> PageRow:
    return PageRow(run["run"], "run", (run["run"], *cells), run, PagePlace("run", run["run"]))


def draw_runs(answers: Json, about: str, moment: PageMoment) -> Page:
    """The newest runs, newest first."""
    rows = tuple(
        _row(
            run, format_result(run), run["node"] or "", run["agent"], run["runtime"], run["model"] or "",
            moment.between(run["started_at"], run["finished_at"]), cost_of(run), moment.at(run["created_at"]),
            format_title(run["task"]),
        )
        for run in answers["runs"]["runs"]
    )  # fmt: skip
    head = ("RUN", "STATE", "NODE", "AGENT", "RUNTIME", "MODEL", "TOOK", "COST", "AT", "TASK")
    spare = ("MODEL", "RUNTIME", "AT", "AGENT")
    return Page((), head, rows, spare, "TASK", 'no run yet; try: pancode dispatch "..."')


def draw_run(answers: Json, about: str, moment: PageMoment) -> Page:
    """Everything about one run: where it is, what it cost, its gates, its story, its receipt."""
    shape = answers["run"]
    lines = [*draw_headline(shape), *_facts(shape, moment), *draw_results(shape)]
    if shape["answer"]:
        lines += [(), make_line("ANSWER", "bold"), *map(make_line, shape["answer"].splitlines()[:200])]
    lines += [(), make_line("STORY", "bold"), *draw_timeline(answers["why"], moment)]
    return Page(lines=tuple(lines), shape=shape)


def draw_headline(shape: Json) -> list[Line]:
    """The first line of a run's task, which names it; its state, and why it is so."""
    state = format_status(shape)
    notes = f"  ({', '.join(shape['notes'])})" if shape["notes"] else ""
    first: Line = (
        (f"{draw_glyph(state)} {escape_line(state)}", style_of(state)),
        (f"  {shape['run']}{escape_line(notes)}", ""),
    )
    title = make_line(format_title(shape["task"]), "bold")
    reason = [make_line(f"  {shape['reason']}")] if shape["reason"] else []
    return [title, first, *reason, ()]


def _facts(shape: Json, moment: PageMoment) -> list[Line]:
    usage, task = shape["usage"], shape["task"]
    plans = [*filter(_PLAN.fullmatch, shape["files_changed"]), *_CARRIES_OUT.findall(task)]
    where = f"{shape['agent']} ({shape['runtime']}) on {shape['node'] or 'no node yet'}"
    known = "not known yet" if cost_of(shape) == "-" else f"{cost_of(shape)} ({usage['cost_source']})"
    known += f", and {format_usd(usage['disputed_usd'])} disputed" if usage["disputed_usd"] else ""
    spent = f"{known}, {usage['input_tokens']} tokens in, "
    pairs = [
        ("task", shape["task"]),
        ("who", where),
        ("model", shape["model"]),
        ("attempt", f"{shape['attempt']}, lease {shape['fence']}" if shape["fence"] else shape["attempt"]),
        ("asked", f"{moment.at(shape['created_at'])} by {shape['created_by']}"),
        ("took", moment.between(shape["started_at"], shape["finished_at"])),
        ("cost", f"{spent}{usage['output_tokens']} out; estimate {format_usd(shape['estimate_usd'])}"),
        ("context", _context(shape)),
        ("safety", f"{shape['mode']}, {shape['safety']}, wall {shape['isolation'] or '-'}"),
        ("workflow", f"{shape['workflow']} step {shape['step']}" if shape["workflow"] else ""),
        ("continues", ", ".join(shape["chain"])),
        ("answered", shape["answered"]),
        ("next", ", ".join(shape["continued_by"])),
        ("plan", ", ".join(plans[:1])),
        ("commit", shape["commit"]),
        ("landed", shape["landed"] or (shape["landing"] or {}).get("status")),
        ("receipt", f"{shape['receipt']}  (v verifies it)" if shape["receipt"] else ""),
    ]
    return [make_fact_line(name, value) for name, value in pairs if value]


_PLAN = re.compile(r"docs/[\w.-]+-plan\.md")
_CARRIES_OUT = re.compile(rf"Carry out the plan in ({_PLAN.pattern})\. ")


def _context(shape: Json) -> str:
    served = shape["served"] or {}
    return f"{format_tokens(served['context'])} of {served['endpoint']}" if served.get("context") else ""


def draw_results(shape: Json) -> list[Line]:
    """What came of it: gates, findings and files."""
    lines: list[Line] = [
        make_fact_line("gates", f"{one['name']}: {gate_state(one)}", "" if one["passed"] else "red")
        for one in shape["gates"]
    ]
    lines += [make_fact_line("finding", one, "yellow") for one in shape["findings"]]
    lines += [make_fact_line("file", name) for name in shape["files_changed"][:50]]
    return lines


def draw_timeline(why: Json, moment: PageMoment) -> list[Line]:
    """Each decision about a run, oldest first, and what it waits for now."""
    lines: list[Line] = [
        (
            (f"{moment.at(one['at'])}  ", "dim"),
            (f"{escape_line(one['what'])} {escape_line(one['verdict'])}  ", style_of(one["verdict"])),
            (escape_line(one["detail"]), ""),
        )
        for one in why["decisions"]
    ]
    return [*lines, make_line(f"now: {why['now']}", "bold")]


def draw_compared(answers: Json, about: str, moment: PageMoment) -> Page:
    """Two runs side by side: facts, gates, and the files that each has changed."""
    pair = (answers["one"], answers["other"])
    gates = [{one["name"]: gate_state(one) for one in run["gates"]} for run in pair]
    files = [set(run["files_changed"]) for run in pair]
    facts = {
        "task": [format_title(run["task"]) for run in pair],
        "state": [format_result(run) for run in pair],
        "agent": [f"{run['agent']} ({run['runtime']})" for run in pair],
        "model": [run["model"] or "" for run in pair],
        "node": [run["node"] or "" for run in pair],
        "took": [moment.between(run["started_at"], run["finished_at"]) for run in pair],
        "cost": [cost_of(run) for run in pair],
        "tokens": [format_used(run) for run in pair],
        **{f"gate {name}": [one.get(name, "") for one in gates] for name in {**gates[0], **gates[1]}},
        **{
            f"file {name}": ["changed" if name in some else "" for some in files]
            for name in sorted(files[0] | files[1])
        },
        "answer": [format_title(run["answer"] or "") for run in pair],
    }
    rows = tuple(PageRow(name, "fact", (name, *cells)) for name, cells in facts.items())
    names = [run["run"] for run in pair]
    return Page((), ("FACT", *names), rows, (), names[1], "")


def draw_why(answers: Json, about: str, moment: PageMoment) -> Page:
    """Why a run is where it is."""
    shape = answers["why"]
    return Page(
        lines=(make_line(f"why {shape['run']}", "bold"), (), *draw_timeline(shape, moment)),
        shape={"run": shape["run"]},
    )
