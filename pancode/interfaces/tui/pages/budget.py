"""Pages of the account: the budget with what each agent has cost, and the agents at work."""

from __future__ import annotations

from pancode.interfaces.tui.page import Json, Page, PageMoment, PagePlace, PageRow, line
from pancode.kernel.formatting import count, counted, safe, usd


def money(answers: Json, about: str, moment: PageMoment) -> Page:
    """What each scope has spent, holds and has left; then what each agent has cost in all."""
    budget, cost = answers["budget"], answers["cost"]
    rows = tuple(_scope(one) for one in budget["scopes"]) + tuple(_agent(one) for one in cost["rows"])
    above = [line(f"the next dispatch is estimated at {usd(budget['estimate_next_usd'])}")]
    above += [line(note, "yellow") for note in budget["notes"]]
    head = ("OF", "SPENT", "HELD", "LEFT", "CEILING", "RUNS", "TOKENS", "NOTE")
    return Page(tuple(above), head, rows, ("TOKENS", "RUNS"), "NOTE", "no budget and no cost yet")


def _scope(one: Json) -> PageRow:
    unknown = f"{counted(one['unknown_runs'], 'run')} of unknown cost" if one["unknown_runs"] else ""
    note = "; ".join(filter(None, ("OVER ITS CEILING" if one["over"] else "", unknown, _disputed(one))))
    cells = (
        one["scope"],
        usd(one["spent_usd"]),
        usd(one["held_usd"]),
        _usd(one["remaining_usd"]),
        _usd(one["ceiling_usd"]),
        "",
        count(one["tokens"]),
    )
    return PageRow(f"scope {one['scope']}", "scope", (*cells, note), one)


def _usd(text: str | None) -> str:
    return "" if text is None else usd(text)


def _agent(one: Json) -> PageRow:
    name = one["key"] or "no agent"
    unknown = f"{one['unknown_runs']} of unknown cost" if one["unknown_runs"] else ""
    cells = (f"agent {name}", usd(one["usd"]), "", "", "", str(one["runs"]), count(one["tokens"]))
    return PageRow(f"agent {name}", "cost", (*cells, "; ".join(filter(None, (unknown, _disputed(one))))), one)


def _disputed(one: Json) -> str:
    """Return what nodes claim beyond the limits of their orders, in words."""
    return f"{usd(one['disputed_usd'])} disputed" if float(one["disputed_usd"]) else ""


def agents(answers: Json, about: str, moment: PageMoment) -> Page:
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
    return PageRow(safe(key), "worker", (*cells, usd(one["usd"]), task), shape, enters)
