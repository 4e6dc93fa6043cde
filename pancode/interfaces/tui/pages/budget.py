"""Pages of the account: the budget with what each agent has cost, and the agents at work."""

from __future__ import annotations

from pancode.interfaces.tui.page import Json, Page, PageMoment, PagePlace, PageRow, make_line
from pancode.kernel.formatting import count_noun, escape_line, format_count, format_usd


def draw_budget(answers: Json, about: str, moment: PageMoment) -> Page:
    """What each scope has spent, holds and has left; then what each agent has cost in all."""
    budget, cost = answers["budget"], answers["cost"]
    rows = tuple(_scope(one) for one in budget["scopes"]) + tuple(_agent(one) for one in cost["rows"])
    above = [make_line(f"the next dispatch is estimated at {format_usd(budget['estimate_next_usd'])}")]
    above += [make_line(note, "yellow") for note in budget["notes"]]
    head = ("SCOPE", "SPENT", "RESERVED", "LEFT", "CEILING", "RUNS", "TOKENS", "NOTE")
    return Page(tuple(above), head, rows, ("TOKENS", "RUNS"), "NOTE", "no budget and no cost yet")


def _scope(one: Json) -> PageRow:
    unknown = f"{count_noun(one['unknown_runs'], 'run')} of unknown cost" if one["unknown_runs"] else ""
    note = "; ".join(filter(None, ("OVER ITS CEILING" if one["over"] else "", unknown, _disputed(one))))
    cells = (
        one["scope"],
        format_usd(one["spent_usd"]),
        format_usd(one["held_usd"]),
        _usd(one["remaining_usd"]),
        _usd(one["ceiling_usd"]),
        "",
        format_count(one["tokens"]),
    )
    return PageRow(f"scope {one['scope']}", "scope", (*cells, note), one)


def _usd(text: str | None) -> str:
    return "" if text is None else format_usd(text)


def _agent(one: Json) -> PageRow:
    name = one["key"] or "no agent"
    unknown = f"{one['unknown_runs']} of unknown cost" if one["unknown_runs"] else ""
    cells = (
        f"agent {name}",
        format_usd(one["usd"]),
        "",
        "",
        "",
        str(one["runs"]),
        format_count(one["tokens"]),
    )
    return PageRow(f"agent {name}", "cost", (*cells, "; ".join(filter(None, (unknown, _disputed(one))))), one)


def _disputed(one: Json) -> str:
    """Return what nodes claim beyond the limits of their orders, in words."""
    return f"{format_usd(one['disputed_usd'])} disputed" if float(one["disputed_usd"]) else ""


def draw_agents(answers: Json, about: str, moment: PageMoment) -> Page:
    """Each agent on each program and machine: its work now, and how its last runs ended."""
    rows = tuple(_worker(one) for one in answers["workers"]["workers"])
    head = ("AGENT", "RUNTIME", "NODE", "NOW", "RUNS", "DONE", "COST", "TASK")
    return Page((), head, rows, ("RUNTIME", "COST", "DONE"), "TASK", "no agent has worked yet")


def _worker(one: Json) -> PageRow:
    now = one["now"]
    stages = ", ".join(run["stage"] for run in now) or "idle"
    task = now[0]["task"] if now else ""
    cells = (one["agent"], one["runtime"], one["node"] or "", stages, str(one["runs"]), str(one["done"]))
    enters = PagePlace("run", now[0]["run"]) if now else None
    key = f"{one['agent']} {one['runtime']} {one['node']}"
    shape = {"run": now[0]["run"]} if now else {}
    return PageRow(escape_line(key), "worker", (*cells, format_usd(one["usd"]), task), shape, enters)
