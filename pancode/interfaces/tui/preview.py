"""Decides what stands beside a list: the marked run, question, session or issue, and its Markdown."""

from __future__ import annotations

from pancode.conversation.lines import LogStory
from pancode.interfaces.client.client import path_of
from pancode.interfaces.tui.page import (
    PREVIEW,
    Json,
    Line,
    Page,
    PageMoment,
    PageRow,
    make_fact_line,
    make_line,
)
from pancode.interfaces.tui.pages.runs import draw_headline, draw_results, format_used
from pancode.interfaces.tui.pages.texts import strip_escapes
from pancode.interfaces.tui.pages.workflows import draw_question
from pancode.interfaces.tui.views import ApiAsk, Asks, ask_issue
from pancode.kernel.formatting import clip_columns, cost_of, escape_line, format_outcome, style_of

_KINDS = frozenset(("run", "step", "item", "session", "issue", "work"))
_TAIL_BYTES, _TAIL_LINES, _TASK = 4_000, 12, 160


def count_columns(page: Page, width: int) -> int:
    """Its columns beside this page; 0: it has no place there."""
    return width * 2 // 5 if width >= PREVIEW and any(row.kind in _KINDS for row in page.rows) else 0


def list_asks(row: PageRow | None) -> Asks:
    """What it takes of a run; it is read when the list is, and never oftener. The text of an issue is asked
    for once. A list knows the others."""
    if row is None or row.kind not in _KINDS - {"item"}:
        return {}
    if row.kind == "issue":
        return {_text_of(row): ask_issue(row.shape["issue"])}
    if not row.shape.get("run"):
        return {}
    tails = {} if row.shape.get("outcome") else {"tails": ApiAsk("/v1/tails", {"bytes": _TAIL_BYTES})}
    return {"beside": ApiAsk(path_of("runs", row.shape["run"])), **tails}


def _text_of(row: PageRow) -> str:
    """The name of the answer that has the text of this issue."""
    return f"issue {row.shape['issue']}"


def find_prose(row: PageRow, answers: Json) -> str:
    """The Markdown below its lines: what an agent asks or said last, or the text of an issue."""
    run = answers.get("beside")
    answer = run["answer"] or "" if run is not None and run["run"] == row.shape.get("run") else ""
    match row.kind:
        case "item":
            return str(row.shape["words"]) if row.shape["kind"] == "question" else ""
        case "session":
            return str(answer or row.shape["last_words"])
        case "issue":
            return str(answers.get(_text_of(row), {}).get("text", ""))
    return str(answer)


def draw_lines(row: PageRow, answers: Json, moment: PageMoment) -> list[Line]:
    """All of it but its Markdown; the place beside the list cuts what has no room."""
    one = row.shape
    told: list[Line] = []
    match row.kind:
        case "item":
            is_prose = one["kind"] == "question"
            return [*draw_question(one, moment, with_words=not is_prose), *([()] if is_prose else [])]
        case "session":
            told += [
                ((one["session"], "bold"), ("  ", ""), (format_outcome(one["state"]), style_of(one["state"])))
            ]
            told += [
                make_fact_line("who", f"{one['agent']} ({one['runtime']}) on {one['node'] or 'no node'}")
            ]
            cost = cost_of({"usage": one["usage"], "outcome": one["interactive_runs"][-1]["outcome"]})
            told += [make_fact_line("cost", cost), make_fact_line("since", moment.ago(one["changed_at"])), ()]
            return [*told, *([make_line(one["asks"]["words"], "yellow")] if one["asks"] else [])]
        case "issue" | "work":
            state = one.get("run_state") or one["state"] or "waiting"
            told += [((one["issue"], "bold"), (f"  {escape_line(state)}", "")), make_line(one["title"])]
            told += [make_line(one["url"], "dim")] if one.get("url") else []
            told += [make_fact_line("trouble", one["trouble"], "red")] if one.get("trouble") else []
            told.append(())
    if not one.get("run"):
        return told
    run = answers.get("beside")
    if run is None or run["run"] != one["run"]:
        return [*told, make_line("reading ...", "dim")]
    where = f"{run['agent']} ({run['runtime']}) on {run['node'] or 'no node yet'}"
    told += [
        *draw_headline(run),
        make_fact_line("who", where),
        make_fact_line("task", clip_columns(run["task"], _TASK)),
    ]
    told += [
        make_fact_line("took", moment.between(run["started_at"], run["finished_at"])),
        make_fact_line("cost", f"{cost_of(run)}, {format_used(run)} tokens"),
    ]
    told += draw_results(run)
    told += [()] if run["answer"] else []
    tail = answers.get("tails", {}).get("tails", {}).get(run["run"], "")
    return [*told, *([(), make_line("LOG", "bold"), *_last_lines(run["runtime"], tail)] if tail else [])]


def _last_lines(runtime: str, tail: str) -> list[Line]:
    """Of the end of an output, whose first line may be cut."""
    whole_lines = tail if len(tail.encode()) < _TAIL_BYTES else tail.partition("\n")[2]
    said = list[str]()
    story = LogStory(runtime, said.append)
    story.write("", whole_lines.encode())
    story.end()
    last = [one for one in "".join(said).split("\n") if one.strip()][-_TAIL_LINES:]
    return [((strip_escapes(one), ""),) for one in last]
