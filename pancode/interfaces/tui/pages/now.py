"""The first page: nodes and money above one list of what needs the user, works, waits and has ended."""

from __future__ import annotations

from collections.abc import Iterable

from pancode.interfaces.tui.page import (
    Json,
    Line,
    Page,
    PageMoment,
    PagePlace,
    PageRow,
    make_line,
    spread_line,
    text_of,
)
from pancode.interfaces.tui.pages.summary import HEARD, list_troubles
from pancode.kernel.formatting import (
    clip_columns,
    cost_of,
    count_noun,
    draw_glyph,
    escape_line,
    format_gpus,
    format_status,
    format_title,
    format_usd,
    style_of,
)

_TALL, _TALLEST = 34, 44
"""Lines of a terminal that has room for what has ended, and for the ceilings."""
_MOST_SLOTS, _METER = 8, 20


def draw_now(answers: Json, about: str, moment: PageMoment) -> Page:
    """The groups have a heading each. Away from the coordinator, what was at work is unknown."""
    now = answers["now"]
    waiting = [_run(run, moment) for run in (*now["waiting"], *now["chats"])]
    groups = [("Running", [_run(run, moment) for run in now["working"]])]
    groups += [("Waiting", waiting)]
    if moment.height >= _TALL:
        groups += [("Ended since you left", [_run(run, moment) for run in now["ended"]["runs"]])]
    if moment.height >= _TALLEST:
        groups += [("Money", [_scope(one) for one in answers["budget"]["scopes"] if one["ceiling_usd"]])]
    counts = {"Waiting": now["waiting_count"] + len(now["chats"])}
    rows = (
        *_list_needs(now, moment),
        *(
            row
            for name, found in groups
            if found
            for row in (_heading(name, counts.get(name, len(found))), *found)
        ),
    )
    head = ("", "TASK", "WHAT", "NODE", "FOR", "COST")
    above = (*list_troubles(answers), *draw_nodes_in_short(answers, moment), draw_money(answers, moment))
    return Page(above, head, rows, (), "WHAT", "nothing runs and nothing waits")


def _heading(name: str, count: int, style: str = "bold") -> PageRow:
    return PageRow(name, "heading", ("", name, "", "", "", str(count)), {"style": style})


def draw_needs(answers: Json, about: str, moment: PageMoment) -> Page:
    """Everything that needs the user, in its groups."""
    rows = tuple(_list_needs(answers["now"], moment))
    head = ("", "TASK", "WHAT", "NODE", "FOR", "COST")
    return Page((), head, rows, ("NODE", "FOR"), "WHAT", "nothing waits for you")


def _list_needs(now: Json, moment: PageMoment) -> Iterable[PageRow]:
    for group in now["groups"]:
        if group["count"]:
            yield _heading(group["title"], group["count"], "bold yellow")
            yield from (_need(one, moment) for one in group["needs"])


def _need(need: Json, moment: PageMoment) -> PageRow:
    """What needs the user, with the line that decides. Enter shows the question, or else the run."""
    item = need["item"]
    kind = "item" if item is not None else "run" if need["run"] else "note"
    view = "node" if need["group"] == "nodes" and need["node"] else kind
    place = PagePlace(view, item["id"] if item is not None else need["run"] or need["node"] or "")
    cost = "" if need["usd"] is None else format_usd(need["usd"])
    words = need["headline"] if need["run"] else f"{need['headline']}: {need['command']}"
    cells = (need["state"].replace("_", " "), _title(need["title"], moment), words, need["node"] or "")
    shape = {**need, "kind": need["state"], **(item or {})}
    enters = place if view != "note" else None
    return PageRow(need["id"], kind, (*cells, moment.ago(need["since"]), cost), shape, enters)


def _run(run: Json, moment: PageMoment) -> PageRow:
    """A run; away from the coordinator one that had not ended is unknown, with its clock and its cost."""
    unknown = moment.away and run["outcome"] is None
    status = "unknown" if unknown else format_status(run)
    told = run["reason"] if run["reason"] and (run["waits"] or run["outcome"]) else status
    took = moment.between(run["started_at"] or run["created_at"], run["finished_at"])
    cells = (status, _title(run["task"], moment), "not heard" if unknown else told, run["node"] or "")
    rest = ("?", "?") if unknown else (took, cost_of(run))
    return PageRow(run["run"], "run", (*cells, *rest), run, PagePlace("run", run["run"]))


def _title(task: str, moment: PageMoment) -> str:
    return clip_columns(escape_line(format_title(task)), max(20, moment.list_width * 3 // 10))


def _scope(one: Json) -> PageRow:
    cost = f"{format_usd(one['spent_usd'])} of {format_usd(one['ceiling_usd'])}"
    state = "over" if one["over"] else ""
    cells = (state, one["scope"], text_of(draw_meter(one)), "", "", cost)
    return PageRow(f"scope {one['scope']}", "scope", cells, one)


def draw_meter(scope: Json, columns: int = _METER) -> Line:
    """Used is heavy, held is broken, the rest is light: readable without colour."""
    ceiling = float(scope["ceiling_usd"] or 0) or 1.0
    used = min(columns, round(columns * float(scope["spent_usd"]) / ceiling))
    held = min(columns - used, round(columns * float(scope["held_usd"]) / ceiling))
    tone = "red" if scope["over"] else "yellow" if used >= columns * 0.8 else "cyan"
    return (("━" * used, tone), ("╍" * held, tone), ("─" * (columns - used - held), "dim"))


def draw_money(answers: Json, moment: PageMoment) -> Line:
    """Today: used, held and the ceiling; and how many runs have a cost that is not known."""
    day = answers["now"]["money"]["day"]
    if day is None:
        return make_line("  today $0.00", "dim")
    meter = draw_meter(day) if day["ceiling_usd"] is not None else ()
    of = f" of {format_usd(day['ceiling_usd'])}" if day["ceiling_usd"] is not None else ""
    held = f" + {format_usd(day['held_usd'])} reserved" if float(day["held_usd"]) else ""
    spent = "?" if moment.away else format_usd(day["spent_usd"])
    unknown = f"   ◌ {count_noun(day['unknown_runs'], 'run')} of unknown cost" if day["unknown_runs"] else ""
    return (("  today ", "dim"), *meter, (f" {spent}", "bold"), (f"{held}{of}", "dim"), (unknown, "magenta"))


def draw_nodes_in_short(answers: Json, moment: PageMoment) -> Iterable[Line]:
    """The nodes, two to a line: those in trouble, then those at work; of the idle ones only how many."""
    nodes, groups = answers["fleet"]["nodes"], answers["now"]["groups"]
    trouble = {need["node"] for one in groups if one["group"] == "nodes" for need in one["needs"]}
    rank = sorted(
        nodes, key=lambda one: (one["state"] in HEARD, one["name"] not in trouble, -one["slots"]["used"])
    )
    most = 4 if moment.height < _TALL else 6
    shown = rank if len(rank) <= most else rank[: most - 1]
    each = (moment.width - 2) // 2
    cells = [_node(one, moment, each) for one in shown]
    if rest := rank[len(shown) :]:
        idle = sum(not one["slots"]["used"] for one in rest)
        words = f"and {idle} idle" if idle == len(rest) else f"and {len(rest)} more, {idle} idle"
        cells.append(((f"  {words}", "dim"),))
    for at in range(0, len(cells), 2):
        yield tuple(span for cell in cells[at : at + 2] for span in (*spread_line(each - 1, cell), (" ", "")))


def _node(node: Json, moment: PageMoment, columns: int) -> Line:
    """Its state, slots and GPUs. The slots of a node that is not heard are unknown, never empty."""
    heard = node["state"] in HEARD and not moment.away
    used, total = node["slots"]["used"], node["slots"]["total"]
    words = f"{used if heard else '?'} of {total}"
    boxes = ("■" * used + "□" * (total - used) if heard else "▨" * total) if total <= _MOST_SLOTS else ""
    state = node["state"] if heard or node["state"] not in HEARD else "unknown"
    first = (f"{draw_glyph(state)} ", style_of(state))
    problem = node["problems"][0]["what"] if node["problems"] else format_gpus(node)
    silent = problem if heard else f"not heard for {moment.ago(node['since'])}" if not moment.away else ""
    name = spread_line(14, ((escape_line(node["name"]), ""),))
    return (
        first,
        *name,
        (boxes, "cyan" if heard else "magenta"),
        (f" {words}  ", ""),
        (escape_line(silent), "yellow"),
    )
