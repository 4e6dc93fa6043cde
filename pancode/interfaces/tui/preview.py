"""Decides what stands beside a list: the marked run, question, session or issue in short."""

from __future__ import annotations

from pancode.interfaces.client.client import path_of
from pancode.interfaces.tui.page import Json, Line, Page, PageMoment, PageRow, fact, line
from pancode.interfaces.tui.pages.runs import headline, results
from pancode.interfaces.tui.pages.texts import shown
from pancode.interfaces.tui.views import ApiAsk, Asks
from pancode.kernel.formatting import clip, cost_of, safe, style_of, whole
from pancode.sessions.conversation.lines import LogStory

LEAST = 120
"""Columns of a terminal that has room for it."""
_KINDS = frozenset(("run", "step", "item", "session", "issue", "work"))
_TAIL_BYTES, _TAIL_LINES, _TASK = 4_000, 12, 160


def columns(page: Page, width: int) -> int:
    """Its columns beside this page; 0: it has no place there."""
    return width * 2 // 5 if width >= LEAST and any(row.kind in _KINDS for row in page.rows) else 0


def asks(row: PageRow | None) -> Asks:
    """What it takes of a run; it is read when the list is, and never oftener. A list knows the others."""
    if row is None or row.kind not in _KINDS - {"item"} or not row.shape.get("run"):
        return {}
    tails = {} if row.shape.get("outcome") else {"tails": ApiAsk("/v1/tails", {"bytes": _TAIL_BYTES})}
    return {"beside": ApiAsk(path_of("runs", row.shape["run"])), **tails}


def lines(row: PageRow, answers: Json, moment: PageMoment) -> list[Line]:
    """The whole of it; the place beside the list cuts what has no room."""
    one = row.shape
    told: list[Line] = []
    match row.kind:
        case "item":
            told += [fact("run", one["run"], "bold"), fact("kind", one["kind"])]
            told += [fact("since", moment.at(one["since"])), fact("command", one["command"]), ()]
            told += [line(words) for words in whole(one["words"]).split("\n")]
            return [*told, *(fact(f"{at}", words) for at, words in enumerate(one["choices"], start=1))]
        case "session":
            told += [((one["session"], "bold"), ("  ", ""), (safe(one["state"]), style_of(one["state"])))]
            told += [fact("who", f"{one['agent']} ({one['runtime']}) on {one['node'] or 'no machine'}")]
            cost = cost_of({"usage": one["usage"], "outcome": one["sittings"][-1]["outcome"]})
            told += [fact("cost", cost), fact("since", moment.ago(one["changed_at"])), ()]
            told += [line(one["asks"]["words"], "yellow")] if one["asks"] else []
            return [*told, *map(line, one["last_words"].splitlines())]
        case "issue" | "work":
            state = one.get("run_state") or one["state"] or "waiting"
            told += [((one["issue"], "bold"), (f"  {safe(state)}", "")), line(one["title"])]
            told += [line(one["url"], "dim")] if one.get("url") else []
            told += [fact("trouble", one["trouble"], "red")] if one.get("trouble") else []
            told.append(())
    if not one.get("run"):
        return told
    run = answers.get("beside")
    if run is None or run["run"] != one["run"]:
        return [*told, line("reading ...", "dim")]
    where = f"{run['agent']} ({run['runtime']}) on {run['node'] or 'no machine yet'}"
    told += [*headline(run), fact("who", where), fact("task", clip(run["task"], _TASK))]
    told += [fact("took", moment.between(run["started_at"], run["finished_at"])), fact("cost", cost_of(run))]
    told += results(run)
    tail = answers.get("tails", {}).get("tails", {}).get(run["run"], "")
    return [*told, *([(), line("LOG", "bold"), *_last_lines(run["runtime"], tail)] if tail else [])]


def _last_lines(runtime: str, tail: str) -> list[Line]:
    """Of the end of an output, whose first line may be cut."""
    whole_lines = tail if len(tail.encode()) < _TAIL_BYTES else tail.partition("\n")[2]
    said = list[str]()
    story = LogStory(runtime, said.append)
    story.write("", whole_lines.encode())
    story.end()
    last = [one for one in "".join(said).split("\n") if one.strip()][-_TAIL_LINES:]
    return [((shown(one), ""),) for one in last]
