"""`pancode inbox review`: shows what needs a user, one thing after the other; one key decides."""

from __future__ import annotations

import os
import sys
import termios
import tty
from typing import Annotated

import typer

from pancode.interfaces.cli import completions, landings
from pancode.interfaces.cli.follow import format_summary, gate_lines, report_lines
from pancode.interfaces.cli.needs import find_columns, format_row
from pancode.interfaces.cli.output import Face, find_user, tell_error
from pancode.interfaces.cli.parameters import Json, verb
from pancode.interfaces.cli.terminal import (
    can_draw,
    color_diff,
    color_state,
    escape_output,
    paint_text,
    safe_block,
    shorten_binaries,
)
from pancode.interfaces.client.client import LAND_S, Client, path_of
from pancode.kernel.errors import ApiError, ExitCode, PancodeError, WorkspaceError
from pancode.kernel.formatting import escape_line, format_landing, format_usd
from pancode.kernel.route import Route
from pancode.landing.answers import DROP
from pancode.people.commands.inbox import format_item
from pancode.reports.answers import NEED_UNDO, NOW, NowAnswer
from pancode.runs.answers import RUN, VERIFY, Need, RunDetail, RunShape

MOST_LINES, MOST_ANSWER = 400, 4_000
MOST_KEY = 16
"""The most bytes that one key press sends, because an arrow key sends several."""
MINE = "n skip  z undo  d change  q quit"


@verb("inbox review", "", "--json")
def review(face: Json) -> int:
    """Show what needs you, one thing after the other; one key decides, and the next thing is shown.

    Keys: 1 to 9 answer with that choice, a answers in words, l lands or approves, x denies, s sends back with
    a remark, r retries, e is done with it, z takes back `e`, n skips, d shows the change again, q quits.
    Nothing but `e` can be taken back. In a pipe, the needs are only listed.
    """
    client = face.client()
    now = client.get(NOW)
    if not now.count or face.as_json or not (face.can_ask() and sys.stdout.isatty()):
        report = {"count": now.count, "summary": now.summary, "groups": now.groups}
        rows = [f"{format_row(one, now.as_of, find_columns())}\n" for one in now.needs]
        face.show(report, lambda: "".join(rows) or "nothing waits for you\n")
        return ExitCode.DONE
    told = Review(face, client, now).run()
    sys.stdout.write(
        f"{', '.join(f'{told.count(one)} {one}' for one in dict.fromkeys(told)) or 'nothing decided'}\n"
    )
    return ExitCode.DONE


class Review:
    """Shows the needs one after the other. Each one is shown once, unless its dismissal is taken back."""

    def __init__(self, face: Face, client: Client, now: NowAnswer) -> None:
        self._face, self._client, self._now = face, client, now
        self._done: list[str] = []
        self._undoable: list[Need] = []
        self._shown = set[str]()

    def run(self) -> list[str]:
        """Return what was done, in order, until nothing is left or the user quits."""
        while (need := next((one for one in self._now.needs if one.id not in self._shown), None)) is not None:
            self._shown.add(need.id)
            sys.stdout.write(self._draw(need))
            if not self._decide(need):
                break
            self._now = self._client.get(NOW)
        return self._done

    def _draw(self, need: Need) -> str:
        """Return the progress, then the thing whole, then the line that decides, above the keys."""
        left = sum(one.id not in self._shown for one in self._now.needs)
        place = f"{len(self._shown)} of {len(self._shown) + left}"
        spent = "" if need.usd is None else f", {format_usd(need.usd)}"
        ran = "" if need.agent_minutes is None else f", {need.agent_minutes:.0f} min of agents"
        head = paint_text(f"--- {place}{ran}{spent} ---", "bold", sys.stdout)
        row = format_row(need, self._now.as_of, find_columns())
        return f"\n{head}\n{self._format_whole(need)}{row}\n"

    def _format_whole(self, need: Need) -> str:
        if need.item is not None:
            return format_item(need.item)
        if need.run != need.id:
            return f"{safe_block(need.words)}\n{escape_line(need.command)}\n"
        shape = _looked_up(self._client, need.id)
        change = _change(self._client, need.id) if shape["commit"] else ""
        return f"{change}\n{safe_block(shape['answer'][:MOST_ANSWER])}{_format_details(shape)}"

    def _decide(self, need: Need) -> bool:
        """Ask until the user has decided or skipped; False: the user quits."""
        keys = "  ".join([f"{act.key} {act.label.lower()}" for act in need.acts] + [MINE])
        choices = len(need.item["choices"]) if need.item is not None else 0
        keys = f"1-{choices} answer  {keys}" if choices else keys
        while True:
            key = _read_key(f"{keys}  > ")
            sys.stdout.write(f"{key if key.isprintable() else ''}\n")
            if key in ("q", "\x03", "\x04"):
                return False
            if key == "n":
                return True
            try:
                if key == "d" and need.run:
                    sys.stdout.write(f"\n{_change(self._client, need.run)}\n")
                elif key == "z":
                    self._undo()
                elif self._act(need, key):
                    return True
            except PancodeError as error:
                tell_error(error, as_json=False)

    def _undo(self) -> None:
        """Take back the newest dismissal; the need is shown again as the next one that is left."""
        if not self._undoable:
            sys.stdout.write("nothing to undo: only `e` can be taken back\n")
            return
        need = self._undoable[-1]
        self._client.post(NEED_UNDO.at(need.id), {"by": find_user()})
        self._undoable.pop()
        self._shown.discard(need.id)
        self._done.remove("done")
        sys.stdout.write(f"{need.id}  is listed again\n")

    def _act(self, need: Need, key: str) -> bool:
        """Do what the key means for the need; False: it means nothing, or the user did not confirm."""
        choices = need.item["choices"] if need.item is not None else []
        answer = key if key.isdecimal() and 0 < int(key) <= len(choices) else ""
        act = next((one for one in need.acts if one.key == ("a" if answer else key)), None)
        if act is None:
            return False
        text = answer
        if act.takes_text and not answer:
            text = str(typer.prompt(escape_line(act.asks), default="", show_default=False)).strip()
            if not text and act.name != "deny":
                return False
        elif act.asks and not act.takes_text and _read_key(f"{escape_line(act.asks)}  y/n > ") != "y":
            sys.stdout.write("\n")
            return False
        body = {"by": find_user(), **act.body, **({"text": text} if act.takes_text else {})}
        if act.name == "land":
            report = landings.land_and_wait(self._face, self._client, need.id, {})
            sys.stdout.write(landings.format_landing(report))
            if report["status"] not in landings.FINE:
                raise WorkspaceError(f"not landed: {report['status']}", why=str(report.get("why", "")))
        else:
            self._client.post(Route[object](f"POST {act.path}"), body, LAND_S)
        self._undoable += [need] if act.is_undoable else []
        self._done.append(_DID.get(act.name, act.name))
        sys.stdout.write(f"{self._done[-1]}\n")
        return True


_DID = {
    "answer": "answered",
    "approve": "approved",
    "approve_run": "approved",
    "deny": "denied",
    "follow": "sent to the agent",
    "land": "landed",
    "resolve": "sent to be resolved",
    "retry": "retried",
    "send_back": "sent back",
}


@verb("inbox drop", "last", "r-zd43pq r-k3m9xw")
def drop(
    runs: Annotated[list[str], typer.Argument(autocompletion=completions.complete_runs)], face: Json
) -> None:
    """Remove failed runs and unwanted changes from everything that needs you.

    A run that failed stays there until a user retries, continues, lands or drops it. The change of a dropped
    run is stored: `pancode land` can still land it.
    """
    client = face.client()
    done = [client.post(DROP.at(run), {"by": find_user()}) for run in runs]
    face.show({"runs": [one["run"] for one in done]}, lambda: "".join(map(_format_dropped, done)))


def _format_dropped(shape: RunShape) -> str:
    kept = f"its change is kept; to land it anyway: {format_landing(shape['run'], shape['outcome'])}"
    has_change = shape["files_changed"] or shape["continues"]  # a run has the change of those it continues
    return f"{shape['run']}  dropped; {kept if has_change else 'it has no change'}\n"


class ReviewedRun(RunDetail):
    """A run, together with the verdict on its receipt."""

    receipt_verdict: str


def _looked_up(client: Client, run: str) -> ReviewedRun:
    """Return the run as the API shows it, with the verdict on its receipt."""
    shape = client.get(RUN.at(run))
    try:
        verdict = client.get(VERIFY.at(run))["verdict"]
    except ApiError as error:
        verdict = error.code
    return {**shape, "receipt_verdict": verdict}


def _format_details(shape: ReviewedRun) -> str:
    lines = [f"  task       {escape_line(shape['task'])}", *gate_lines(shape), *report_lines(shape, 5)]
    lines.append(f"  receipt    {color_state(shape['receipt_verdict'])}\n")
    return format_summary(shape) + "\n".join(lines)


def _change(client: Client, run: str) -> str:
    """Return the first lines of the change, in colors on a terminal that supports them."""
    change = shorten_binaries(client.raw(path_of("runs", run, "diff")), sys.stdout)
    lines = change.splitlines(keepends=True)
    cut = b"".join(lines[:MOST_LINES])
    shown = color_diff(cut, sys.stdout) if can_draw(sys.stdout) else escape_output(cut, sys.stdout).decode()
    more = f"... {len(lines) - MOST_LINES} more lines: pancode diff {run}\n"
    return shown + (more if len(lines) > MOST_LINES else "")


def _read_key(question: str) -> str:
    """Read one key, without Enter. Keys pressed before the question was shown are discarded."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSAFLUSH)
        sys.stdout.write(question)
        sys.stdout.flush()
        return os.read(terminal, MOST_KEY).decode("utf-8", "replace")[:1] or "\x04"
    except KeyboardInterrupt:
        return "\x03"
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
