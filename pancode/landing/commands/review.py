"""`pancode inbox review`: shows each change that awaits a decision; one key decides."""

from __future__ import annotations

import os
import sys
import termios
import tty
from typing import Annotated

import typer

from pancode.interfaces.cli import completions, landings
from pancode.interfaces.cli.follow import format_summary, gate_lines, report_lines
from pancode.interfaces.cli.output import Face, find_user, tell_error
from pancode.interfaces.cli.parameters import Json, verb
from pancode.interfaces.cli.terminal import (
    can_draw,
    color_diff,
    color_state,
    escape_lines,
    escape_output,
    paint_text,
    safe_block,
    shorten_binaries,
)
from pancode.interfaces.client.caller import work_folder
from pancode.interfaces.client.client import Client, path_of
from pancode.kernel.errors import ApiError, ExitCode, PancodeError, WorkspaceError
from pancode.kernel.formatting import count_noun, escape_line, format_landing
from pancode.landing.answers import DROP, REVIEW
from pancode.runs.answers import CONTINUE, RUN, VERIFY, RunDetail, RunShape

MOST_LINES, MOST_ANSWER = 400, 4_000
MOST_KEY = 16
"""The most bytes that one key press sends, because an arrow key sends several."""
KEYS = "l land   r send back with a remark   x drop   d diff   s skip   q quit"


@verb("inbox review", "", "--json")
def review(face: Json) -> int:
    """Review the results of this repository: change, gates, answer, receipt, cost; one key decides each.

    Keys: l lands the change, r sends it back with a remark (a new run continues from it), x drops it, d shows
    it again, s skips it, q quits. In a pipe, the changes are only listed.
    """
    client = face.client()
    rows = client.get(REVIEW, folder=work_folder(files=False))["runs"]
    interactive = face.can_ask() and sys.stdout.isatty()
    if not rows or face.as_json or not interactive:
        found = [_looked_up(client, row["run"]) for row in rows] if not face.as_json else []
        face.show({"runs": rows}, lambda: "".join(map(_format_page, found)) or "nothing to review here\n")
        return ExitCode.DONE
    done: list[str] = []
    for number, row in enumerate(rows, start=1):
        sys.stdout.write(_draw_run(client, _looked_up(client, row["run"]), f"{number} of {len(rows)}"))
        answer = _ask_action(face, client, row["run"])
        if answer == "quit":
            break
        done.append(answer)
    counts = ", ".join(f"{done.count(word)} {word}" for word in dict.fromkeys(done)) or "none"
    sys.stdout.write(f"reviewed {count_noun(len(done), 'result')} of {len(rows)}: {counts}\n")
    return ExitCode.DONE


@verb("inbox drop", "last", "r-zd43pq r-k3m9xw")
def drop(
    runs: Annotated[list[str], typer.Argument(autocompletion=completions.complete_runs)], face: Json
) -> None:
    """Remove failed runs and unwanted changes from everything that needs you.

    A run that was lost, or that did not pass its gates, stays there until a user retries, continues, lands or
    drops it. The change of a dropped run is stored: `pancode land` can still land it.
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


def _format_page(shape: ReviewedRun) -> str:
    """Format the run for a pipe: without colors and without the change itself."""
    files = escape_lines(f"  file       {name}" for name in shape["files_changed"])
    return f"{_format_details(shape)}{files}  {format_landing(shape['run'], shape['outcome'])}\n\n"


def _format_details(shape: ReviewedRun) -> str:
    lines = [f"  task       {escape_line(shape['task'])}", *gate_lines(shape), *report_lines(shape, 5)]
    lines.append(f"  receipt    {color_state(shape['receipt_verdict'])}\n")
    return format_summary(shape) + "\n".join(lines)


def _draw_run(client: Client, shape: ReviewedRun, place: str) -> str:
    answer = safe_block(shape["answer"][:MOST_ANSWER])
    head = paint_text(f"--- {place} ---", "bold", sys.stdout)
    return f"\n{head}\n{_change(client, shape['run'])}\n{answer}{_format_details(shape)}"


def _change(client: Client, run: str) -> str:
    """Return the first lines of the change, in colors on a terminal that supports them."""
    change = shorten_binaries(client.raw(path_of("runs", run, "diff")), sys.stdout)
    lines = change.splitlines(keepends=True)
    cut = b"".join(lines[:MOST_LINES])
    shown = color_diff(cut, sys.stdout) if can_draw(sys.stdout) else escape_output(cut, sys.stdout).decode()
    more = f"... {len(lines) - MOST_LINES} more lines: pancode diff {run}\n"
    return shown + (more if len(lines) > MOST_LINES else "")


def _ask_action(face: Face, client: Client, run: str) -> str:
    """Ask what to do with the run, again after an invalid key or failed landing. Return what was done."""
    while True:
        key = _read_key(f"{KEYS}  > ")
        sys.stdout.write(f"{key if key.isprintable() else ''}\n")
        try:
            if outcome := _act(face, client, run, key.lower()):
                return outcome
        except PancodeError as error:
            tell_error(error, as_json=False)


def _act(face: Face, client: Client, run: str, key: str) -> str:
    """Do what the key means and return what was done; empty if the user must still decide."""
    match key:
        case "q" | "\x03" | "\x04":
            return "quit"
        case "s":
            return "skipped"
        case "l":
            report = landings.land_and_wait(face, client, run, {})
            sys.stdout.write(landings.format_landing(report))
            if report["status"] not in landings.FINE:
                raise WorkspaceError(f"not landed: {report['status']}", why=str(report.get("why", "")))
            return "landed"
        case "r":
            remark = str(typer.prompt("What should change?", default="", show_default=False)).strip()
            if remark:
                new = client.post(CONTINUE.at(run), {"by": find_user(), "text": remark})
                sys.stdout.write(f"{new['run']}  continues from {run}\n")
                return "sent back"
        case "x":
            sys.stdout.write(_format_dropped(client.post(DROP.at(run), {"by": find_user()})))
            return "dropped"
        case "d":
            sys.stdout.write(f"\n{_change(client, run)}\n")
    return ""


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
