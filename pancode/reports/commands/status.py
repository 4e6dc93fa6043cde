"""`pancode status`: one screen of what needs the user, runs, nodes and costs."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from textwrap import wrap
from typing import Annotated

from pancode.budget.answers import BUDGET
from pancode.fleet.answers import FLEET, FleetShape, NodeShape
from pancode.interfaces.cli.needs import align_ends, format_age, format_row
from pancode.interfaces.cli.parameters import Argument, Face, Json, find_user, option, verb
from pancode.interfaces.cli.terminal import clip_columns, escape_line, format_usd, short_time
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import (
    cost_of,
    count_noun,
    format_gpus,
    format_outcome,
    format_title,
)
from pancode.reports.answers import LOOKED, NOW, EndedShape, MoneyShape, NowAnswer
from pancode.reports.commands.events import show_watched
from pancode.runs.answers import INBOX, QUEUES, NeedGroup

MOST_LINES, WIDE = 24, 120
PACE_S = (2.0, 2.0)
_SHOWN = ((3, 5, 3, 5), (3, 3, 1, 3), (2, 2, 1, 2), (1, 1, 1, 1))
"""How many items, runs, waiting runs and nodes are shown; if they do not fit, the next row is used."""
_UP = ("online", "draining", "drained")


@dataclass(frozen=True, slots=True)
class Seen:
    """The data shown in one update of the screen."""

    fleet: FleetShape
    now: NowAnswer


_METRICS = "Show metrics: six lines, or Prometheus text in a pipe; see also the setting metrics.listen."
_SINCE = "Show what happened since a time: last (your last visit), 2h, 2026-11-22."
_HEALTH = "Show what needs attention, with evidence; exit status 12 if something needs a user."


@verb("status", "", "--since last", "--health && echo well", "--metrics | grep nodes")
def status(
    *,
    name: Annotated[
        str | None,
        Argument(metavar="[RUN|NODE]", help="Show this run or node, as `runs show` or `node show` does."),
    ] = None,
    since: Annotated[str | None, option(_SINCE, "TIME")] = None,
    markdown: Annotated[bool, option("With --since: print Markdown, to paste elsewhere.")] = False,
    health: Annotated[bool, option(_HEALTH)] = False,
    whole: Annotated[bool, option("With --health: also list what is healthy.", "--all")] = False,
    metrics: Annotated[bool, option(_METRICS)] = False,
    brief: Annotated[bool, option("With --metrics: print the six lines in a pipe, too.")] = False,
    watch: Annotated[bool, option("Update the screen every 2 s until Ctrl-C.")] = False,
    face: Json,
) -> int:
    """Show what needs you, runs working and waiting, nodes, what ended since your last visit, and costs.

    On a terminal, this counts as a visit. With --since: what ran, landed and cost since then, with commands.
    """
    if since is None and markdown:
        raise UsageError("--markdown requires --since", fix="pancode status --since last --markdown")
    if name is not None:
        from pancode.interfaces.cli.main import run

        noun = "runs" if name == "last" or name.startswith(("r-", "w-")) else "node"
        return run([noun, "show", name, *(["--json"] if face.as_json else [])])
    if since is not None:
        from pancode.reports.commands.brief import show_brief

        show_brief(face, since, markdown)
    elif health:
        from pancode.runs.commands.health import show_health

        return show_health(face, whole=whole)
    elif metrics:
        from pancode.reports.commands.metrics import show_metrics

        show_metrics(face, brief=brief)
    else:
        show_screen(face, watch)
    return 0


def show_screen(face: Face, watch: bool) -> None:
    client = face.client()
    columns = max(40, shutil.get_terminal_size((80, 24)).columns)

    def look() -> Seen:
        return Seen(client.get(FLEET), client.get(NOW, by=find_user()))

    def data(seen: Seen) -> dict[str, object]:
        """Return the data of the screen for a script, with the API answers from which it was made."""
        if not face.as_json and face.format not in ("yaml", "name"):
            return {}
        answers = {"queues": client.get(QUEUES), "budget": client.get(BUDGET)}
        mine = {"inbox": client.get(INBOX)}
        placed = (one for one in seen.now.waiting if one["status"] == "placed")
        runs = [*seen.now.working, *seen.now.chats, *placed]
        return {"fleet": seen.fleet, "now": seen.now, "runs": runs, **answers, **mine}

    def words(seen: Seen) -> str:
        return format_screen(seen, columns)

    show_watched(face, client, look, words, watches=watch, pace_s=PACE_S, data=data)
    if sys.stdout.isatty() and not face.as_json:
        client.post(LOOKED, {"by": find_user()})


def format_screen(seen: Seen, columns: int) -> str:
    """Return the screen, at most 24 lines at 80 columns; each section has its own share of the lines."""
    lines = list[str]()
    for most in _SHOWN:
        lines = list_sections(seen, columns, most)
        if len(lines) <= MOST_LINES:
            break
    return "\n".join(lines) + "\n"


def list_sections(seen: Seen, columns: int, most: tuple[int, int, int, int]) -> list[str]:
    items, runs, waiting, nodes = most
    up = sum(one["state"] in _UP for one in seen.fleet["nodes"])
    head = f"fleet {seen.fleet['coordinator']['fleet']}"
    lines = [align_ends(head, f"{up} of {len(seen.fleet['nodes'])} nodes up", columns)]
    lines += [f"  {word}: {escape_line(why)}" for word, why in list_held(seen.fleet)]
    lines += list_needs(seen.now, columns, items)
    lines += list_running(seen, columns, runs)
    lines += list_waiting(seen.now, columns, waiting)
    lines += list_nodes(seen, columns, nodes)
    ended = wrap(format_ended(seen.now.ended), columns, subsequent_indent="  ")
    return [clip_columns(line, columns) for line in [*lines, *ended, format_money(seen.now.money)]]


def list_held(fleet: FleetShape) -> list[tuple[str, str]]:
    """Return what blocks the whole fleet, and the coordinator's own problems, as (title, reason)."""
    info = fleet["coordinator"]
    found = [(word, why) for word, why in (("paused", info["paused"]), ("draining", info["draining"])) if why]
    troubles = [one for one in (info["trouble"], info["clock"]) if one is not None]
    return [*found, *((one["what"], f"{one['why']}; {one['fix']}") for one in troubles)]


def _format_more(count: int, what: str, command: str, columns: int) -> list[str]:
    return [align_ends(f"  {count} {what}", command, columns)] if count > 0 else []


def list_needs(now: NowAnswer, columns: int, most: int) -> list[str]:
    """Return the needs: of each group the first ones, and how many more there are."""
    shown = [need for group in now.groups for need in group.needs[:most]]
    rows = [format_row(need, now.as_of, columns) for need in shown]
    head = f"NEEDS YOU {now.summary.partition(' need')[0] or 'nothing'}{now.summary[now.summary.find(':') :]}"
    return [head, *rows, *_format_more(now.count - len(shown), "more", "pancode inbox", columns)]


def list_running(seen: Seen, columns: int, most: int) -> list[str]:
    slots = [one["slots"] for one in seen.fleet["nodes"]]
    used, total = sum(one["used"] for one in slots), sum(one["total"] for one in slots)
    running, chats = seen.now.working, len(seen.now.chats)
    waits = f"; {count_noun(chats, 'chat')} waiting for your message" if chats else ""
    lines = [f"RUNNING {len(running)} (slots: {used} of {total}{waits})"]
    for one in running[:most]:
        model = f"  {one['runtime']:<8}{clip_columns(one['model'] or '-', 20):<20}" if columns >= WIDE else ""
        cells = f"{one['run']}  {one['node'] or '-':<10}  {one['agent']:<10}{model}"
        age = f"{format_age(one['started_at'], seen.now.as_of):>6}"
        lines.append(f"  {cells}{age}  {cost_of(one):>7}  {escape_line(format_title(one['task']))}")
    return lines + _format_more(len(running) - most, "more", "pancode runs", columns)


def list_waiting(now: NowAnswer, columns: int, most: int) -> list[str]:
    if not now.waiting:
        return []
    lines = [f"WAITING {now.waiting_count}"]
    lines += [f"  {one['run']}  {escape_line(one['reason'])}" for one in now.waiting[:most]]
    return lines + _format_more(now.waiting_count - most, "more", "pancode runs --waiting", columns)


def list_nodes(seen: Seen, columns: int, most: int) -> list[str]:
    nodes = seen.fleet["nodes"]
    if not nodes:
        return [align_ends("NODES 0", "pancode node add NAME; for this computer: --local", columns)]
    needy = {need.node for need in seen.now.needs if need.group is NeedGroup.NODES}
    rest = sorted((one for one in nodes if one["name"] not in needy), key=lambda one: -one["slots"]["used"])
    rows = [format_node(one, columns) for one in rest[:most]]
    more = _format_more(len(rest) - most, "more", "pancode node ls", columns)
    return [f"NODES {len(nodes)}", *rows, *more]


def format_node(node: NodeShape, columns: int) -> str:
    programs = " ".join(one["name"] for one in node["runtimes"] if one["state"] == "ok" or one["served"])
    slots = f"{node['slots']['used']} of {node['slots']['total']}"
    parts = [f"  {escape_line(node['name']):<9} {slots}", escape_line(programs), format_gpus(node)]
    if columns >= WIDE:
        models = (model["id"] for one in node["endpoints"] for model in one["models"])
        parts.append(", ".join(map(escape_line, models)))
    return "  ".join(filter(None, parts))


def format_ended(ended: EndedShape) -> str:
    states = {name: f"{count} {format_outcome(name)}" for name, count in ended["states"].items() if count}
    landed = states.pop("landed", "")  # those that have landed are also done
    parts = f" ({', '.join(states.values())})" if states else ""
    return f"ENDED since {short_time(ended['since'])}: {ended['count']}{parts}{landed and f'; {landed}'}"


def format_money(money: MoneyShape) -> str:
    day = money["day"]
    if day is None:
        return "MONEY today $0.00"
    limit = f" of {format_usd(day['ceiling_usd'])}" if day["ceiling_usd"] is not None else ""
    held = f", {format_usd(day['held_usd'])} reserved"
    unknown = f"; {count_noun(day['unknown_runs'], 'run')} of unknown cost" if day["unknown_runs"] else ""
    return f"MONEY today {format_usd(day['spent_usd'])}{limit}{held}{unknown}"
