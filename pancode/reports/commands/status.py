"""`pancode status`: one screen of what needs the user, runs, nodes and costs."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from typer import Argument

from node_agent.wire.clock import SystemClock
from pancode.budget.answers import BUDGET, BudgetShape
from pancode.fleet.answers import FLEET, FleetShape, NodeShape
from pancode.interfaces.cli.commands import verb
from pancode.interfaces.cli.output import Face, find_user
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import can_draw, clip_columns, escape_line, format_usd, short_time
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import cost_of, count_noun, format_gpus, format_outcome, format_seconds
from pancode.people.answers import INBOX, InboxAnswer
from pancode.reports.answers import BRIEFING, LOOKED, BriefShape
from pancode.reports.commands.events import watch_feed, watch_screen
from pancode.runs.answers import QUEUES, RUNS, InboxShape, QueuesShape, RunShape

MOST_LINES, WIDE = 24, 120
PACE_S = (2.0, 2.0)
_SHOWN = ((3, 5, 3, 5), (3, 3, 1, 3), (2, 2, 1, 2), (1, 1, 1, 1))
"""How many items, runs, waiting runs and nodes are shown; the next where that is too much."""
_UP = ("online", "draining", "drained")


@dataclass(frozen=True, slots=True)
class Seen:
    """The data of one update."""

    fleet: FleetShape
    inbox: InboxAnswer
    runs: Sequence[RunShape]
    queues: QueuesShape
    brief: BriefShape
    budget: BudgetShape
    now_ms: int


@verb(
    "status",
    "pancode status",
    "pancode status --since last",
    "pancode status --health && echo well",
    "pancode status --metrics | grep nodes",
)
def status(
    *,
    name: Annotated[
        str | None,
        Argument(metavar="[RUN|NODE]", help="Show this run or node, as `runs show` or `node show` does."),
    ] = None,
    since: Annotated[
        str | None,
        option("Show what happened since a time: last (your last visit), 2h, 2026-11-22.", "--since", "TIME"),
    ] = None,
    markdown: Annotated[bool, option("With --since: Markdown, to paste elsewhere.", "--markdown")] = False,
    health: Annotated[
        bool,
        option("Show who needs a look, with the evidence; exit code 12 if it needs a user.", "--health"),
    ] = False,
    whole: Annotated[bool, option("With --health: also list what is healthy.", "--all")] = False,
    metrics: Annotated[
        bool,
        option(
            "Show six figures, or Prometheus text in a pipe; see also the setting metrics.listen.",
            "--metrics",
        ),
    ] = False,
    brief: Annotated[bool, option("With --metrics: the six figures in a pipe, too.", "--brief")] = False,
    watch: Annotated[bool, option("Redraw it every 2 s, until Ctrl-C.", "-w", "--watch")] = False,
    face: Json,
) -> int:
    """Show what needs you, what runs and waits, the nodes, what ended since your last visit, and the costs.

    On a terminal it counts as a visit. With --since: what ran, landed and cost since then, with the commands.
    """
    if since is None and markdown:
        raise UsageError("--markdown requires --since", fix="pancode status --since last --markdown")
    if name is not None:
        from pancode.interfaces.cli.main import run

        flags = ["--json"] if face.as_json else []
        is_run = name == "last" or name.startswith(("r-", "w-"))
        return run([*(("runs", "show") if is_run else ("node", "show")), name, *flags])
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
    columns = max(80, shutil.get_terminal_size((80, 24)).columns)
    if watch and not face.as_json and can_draw(sys.stdout):
        return watch_screen(face, client, lambda: format_screen(_look(client), columns), PACE_S)
    for _ in watch_feed(face, client, pace_s=PACE_S) if watch else (None,):
        seen = _look(client)
        data = {name: getattr(seen, name) for name in ("fleet", "inbox", "runs", "queues", "brief", "budget")}
        face.show(data, lambda: format_screen(seen, columns))  # noqa: B023 - called at once
    if sys.stdout.isatty() and not face.as_json:
        client.post(LOOKED, {"by": find_user()})
    return None


def _look(client: Client) -> Seen:
    return Seen(
        client.get(FLEET),
        client.get(INBOX, by=find_user()),
        [one for one in client.get(RUNS, outcome="running", limit=1_000)["runs"] if one["waits"] is None],
        client.get(QUEUES),
        client.get(BRIEFING, by=find_user()),
        client.get(BUDGET),
        SystemClock().wall_ms(),
    )


def format_screen(seen: Seen, columns: int) -> str:
    """Return the screen, at most 24 lines at 80 columns; no section displaces another one."""
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
    lines = [_align_ends(head, f"{up} of {len(seen.fleet['nodes'])} nodes up", columns)]
    for word, why in list_held(seen.fleet):
        lines.append(f"  {word}: {escape_line(why)}")
    lines += list_needs(seen, columns, items)
    lines += list_running(seen, columns, runs)
    lines += list_waiting(seen, columns, waiting)
    lines += list_nodes(seen.fleet["nodes"], columns, nodes)
    return [
        clip_columns(line, columns) for line in [*lines, format_ended(seen.brief), format_money(seen.budget)]
    ]


def list_held(fleet: FleetShape) -> list[tuple[str, str]]:
    """Return what blocks the whole fleet, and the coordinator's own problems."""
    info = fleet["coordinator"]
    found = [(word, why) for word, why in (("paused", info["paused"]), ("draining", info["draining"])) if why]
    troubles = [one for one in (info["trouble"], info["clock"]) if one is not None]
    return [*found, *((one["what"], f"{one['why']}; {one['fix']}") for one in troubles)]


def _align_ends(left: str, right: str, columns: int) -> str:
    """Return the text with another text at the right end of its line."""
    room = columns - len(right)
    return f"{clip_columns(left, room - 2):<{room}}{right}"


def _format_more(count: int, what: str, command: str, columns: int) -> list[str]:
    return [_align_ends(f"  {count} {what}", command, columns)] if count > 0 else []


def list_needs(seen: Seen, columns: int, most: int) -> list[str]:
    items, also = seen.inbox["items"], seen.inbox["also"]
    if not items and not also:
        return ["NEEDS YOU nothing"]
    lines = [f"NEEDS YOU {len(items) + len(also)}"]
    for item in items[:most]:
        lines += format_item(item, columns, seen.now_ms)
    changes = sum(one["command"].startswith("pancode land") for one in also)
    lines += _format_more(changes, "with a change to review", "pancode inbox review", columns)
    return lines + _format_more(len(items[most:]) + len(also) - changes, "more", "pancode inbox", columns)


def format_item(item: InboxShape, columns: int, now_ms: int) -> list[str]:
    mark = "?" if item["kind"] == "question" else "!"
    words = f"  {mark} {item['run']}  {escape_line(' '.join(item['words'].split()))}"
    age, command = _format_age(item["since"], now_ms), escape_line(item["command"])
    if columns >= WIDE:
        return [_align_ends(words, f"{age:>7}  {command:<50}", columns)]
    return [_align_ends(words, age, columns), f"      {command}"]


def _format_age(since: str | None, now_ms: int) -> str:
    if since is None:
        return "-"
    return format_seconds(max(0, now_ms / 1000 - datetime.fromisoformat(since).timestamp()))


def list_running(seen: Seen, columns: int, most: int) -> list[str]:
    slots = [one["slots"] for one in seen.fleet["nodes"]]
    used, total = sum(one["used"] for one in slots), sum(one["total"] for one in slots)
    lines = [f"RUNNING {len(seen.runs)} (slots: {used} of {total})"]
    for one in seen.runs[:most]:
        model = f"  {one['runtime']:<8}{clip_columns(one['model'] or '-', 20):<20}" if columns >= WIDE else ""
        cells = (one["run"], f"{one['node'] or '-':<10}", f"{one['agent']:<10}{model}")
        age = f"{_format_age(one['started_at'], seen.now_ms):>6}"
        lines.append(f"  {'  '.join(cells)}{age}  {cost_of(one):>7}  {escape_line(one['task'])}")
    return lines + _format_more(len(seen.runs) - most, "more", "pancode runs", columns)


def list_waiting(seen: Seen, columns: int, most: int) -> list[str]:
    begun = {one["run"] for one in seen.runs}
    jobs = [one for queue in seen.queues["queues"] for one in queue["orders"] if one["run"] not in begun]
    if not jobs:
        return []
    lines = [f"WAITING {len(jobs)}"]
    lines += [f"  {one['run']}  {escape_line(one['reason'])}" for one in jobs[:most]]
    return lines + _format_more(len(jobs) - most, "more", "pancode runs --waiting", columns)


def list_nodes(nodes: Sequence[NodeShape], columns: int, most: int) -> list[str]:
    if not nodes:
        return [_align_ends("NODES 0", "pancode node add NAME; this machine: --local", columns)]
    trouble = [one for one in nodes if one["state"] not in _UP or one["problems"]]
    busy = sorted((one for one in nodes if one not in trouble), key=lambda one: -one["slots"]["used"])
    lines = [f"NODES {len(nodes)}"]
    for one in [*trouble, *busy][:most]:
        lines.append(format_trouble(one, columns) if one in trouble else format_node(one, columns))
    return lines + _format_more(len(nodes) - most, "more", "pancode node ls", columns)


def format_trouble(node: NodeShape, columns: int) -> str:
    what = (
        node["problems"][0]["what"]
        if node["problems"]
        else f"{node['state']} since {short_time(node['since'])}"
    )
    return _align_ends(f"  {node['name']:<9} {escape_line(what)}", f"pancode doctor {node['name']}", columns)


def format_node(node: NodeShape, columns: int) -> str:
    programs = " ".join(one["name"] for one in node["runtimes"] if one["state"] == "ok" or one["served"])
    slots = f"{node['slots']['used']} of {node['slots']['total']}"
    parts = [f"  {escape_line(node['name']):<9} {slots}", escape_line(programs), format_gpus(node)]
    if columns >= WIDE:
        parts.append(
            ", ".join(escape_line(model["id"]) for one in node["endpoints"] for model in one["models"])
        )
    return "  ".join(filter(None, parts))


def format_ended(brief: BriefShape) -> str:
    ends = Counter({format_outcome(name): count for name, count in brief["outcomes"].items()})
    ends["landed"] = len(brief["landed"])
    total = sum(brief["outcomes"].values())
    parts = ", ".join(f"{count} {name}" for name, count in ends.items() if count)
    return f"ENDED since {short_time(brief['since'])}: {total}" + (f" ({parts})" if parts else "")


def format_money(budget: BudgetShape) -> str:
    day = next((one for one in budget["scopes"] if one["scope"].partition(":")[0] == "day"), None)
    if day is None:
        return "MONEY today $0.00"
    limit = f" of {format_usd(day['ceiling_usd'])}" if day["ceiling_usd"] is not None else ""
    unknown = f"; {count_noun(day['unknown_runs'], 'run')} of unknown cost" if day["unknown_runs"] else ""
    return (
        f"MONEY today {format_usd(day['spent_usd'])}{limit}, {format_usd(day['held_usd'])} reserved{unknown}"
    )
