"""`pancode status --since`: what happened, what waits for you, what landed, and what it cost."""

from __future__ import annotations

from pancode.budget.answers import CostRow
from pancode.interfaces.cli.parameters import Face, find_user
from pancode.interfaces.cli.terminal import escape_line, format_usd, short_time
from pancode.kernel.declared import to_json
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import count_noun, first_few, format_outcome
from pancode.kernel.names import LAST
from pancode.reports.answers import BRIEFING, LOOKED, REPORT, BriefShape
from pancode.runs.answers import BriefLine, Need

Costs = tuple[tuple[str, list[CostRow]], ...]
"""A title, and its rows."""
_NAMED = 3
"""How many stopped runs are named."""


def show_brief(face: Face, since: str, markdown: bool) -> None:
    """Show what ran, waits for the user, landed and cost since a time; `last`: since the user's last visit.

    PanCode stores each user's last visit. Only `last` counts as a visit; with another time, the report adds
    the cost of each repository and day.
    """
    if markdown and face.as_json:
        raise UsageError("--json and --markdown cannot be combined", fix="omit --json or --markdown")
    if since != LAST:
        report = face.get(REPORT, by=find_user(), since=since)
        costs = {"by_day": report.by_day, "by_repository": report.by_repository}
        shown = (("By repository", report.by_repository), ("By day", report.by_day))
        return face.show({**to_json(report.brief), **costs}, lambda: _text(report.brief, markdown, shown))
    tell_brief(face, markdown)
    face.post(LOOKED)
    return None


def tell_brief(face: Face, markdown: bool = False) -> None:
    """Show what happened since the user's last visit; this does not count as a visit."""
    face.show_result(face.get(BRIEFING, by=find_user()), lambda answer: _text(answer, markdown))


def _text(answer: BriefShape, markdown: bool, costs: Costs = ()) -> str:
    ends = ", ".join(f"{count} {format_outcome(name)}" for name, count in sorted(answer.outcomes.items()))
    now = f"now {answer.running} running, {answer.queued} queued"
    lines = _format_head(f"Since {short_time(answer.since)}", markdown, 1)
    lines.append(f"{ends or 'nothing ran'}; {now}")
    waits = [_line_of_need(one) for one in answer.waits]
    sections = {
        "Waits for you": [*waits, *answer.notes],
        "Landed": answer.landed,
        "Ran": join_stopped(answer),
    }
    for title, found in {**sections, "Not started": answer.held}.items():
        head = _format_head(title, markdown) if found else []
        lines += [*head, *(_format_line(one, markdown) for one in found)]
    if answer.cost["runs"] or answer.cost["unknown_runs"]:
        total: CostRow = {**answer.cost, "key": "total"}
        lines += _format_costs("Cost", [*answer.by_agent, total], markdown)
    for title, rows in costs:
        lines += _format_costs(title, rows, markdown) if rows else []
    return "".join(f"{line}\n" for line in lines)


def _line_of_need(need: Need) -> BriefLine:
    what = f"{need.state.replace('_', ' ')}: {need.headline}"
    return {"run": need.run or need.id, "what": what, "task": need.title, "command": need.command}


def join_stopped(answer: BriefShape) -> list[BriefLine]:
    """Return the ended runs that no other section shows; those that were stopped share one line."""
    shown = {*(one.run for one in answer.waits), *(line["run"] for line in answer.landed)}
    rest = [line for line in answer.ran if line["run"] not in shown]
    stopped = [line for line in rest if line.get("outcome") == "interrupted"]
    if len(stopped) < 2:
        return rest
    names = first_few([line["run"] or "" for line in stopped], _NAMED)
    joint = f"{count_noun(len(stopped), 'run')} stopped: {names}"
    line: BriefLine = {"run": None, "what": joint, "task": "", "command": "pancode runs --state stopped"}
    return [*(one for one in rest if one not in stopped), line]


def _format_head(title: str, markdown: bool, level: int = 2) -> list[str]:
    if markdown:
        return ["", f"{'#' * level} {title}", ""] if level > 1 else [f"# {title}", ""]
    return ["", f"{title}:"] if level > 1 else [title]


def _format_line(one: BriefLine, markdown: bool) -> str:
    name = " ".join(escape_line(text) for text in (one["run"] or "", one["task"]) if text)
    what = escape_line(one["what"])
    if markdown:
        about = f"{name}: {what}" if name else what
        return f"- {_escape_markdown(about)} (`{escape_line(one['command'])}`)"
    return "\n      ".join([f"  {name or what}", *([what] if name else []), escape_line(one["command"])])


def _escape_markdown(text: str) -> str:
    """Escape Markdown's special characters, so that text from elsewhere cannot act as markup."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>#|" else char for char in text)


def _format_costs(title: str, rows: list[CostRow], markdown: bool) -> list[str]:
    lines = _format_head(title, markdown)
    for row in rows:
        unknown = f", {count_noun(row['unknown_runs'], 'run')} of unknown cost" if row["unknown_runs"] else ""
        unknown += f", {format_usd(row['disputed_usd'])} disputed" if float(row["disputed_usd"]) else ""
        key = escape_line(row["key"] or "none")
        spent = f"{format_usd(row['usd'])} for {count_noun(row['runs'], 'run')}{unknown}"
        lines.append(f"- {_escape_markdown(key)}: {spent}" if markdown else f"  {key}  {spent}")
    return lines
