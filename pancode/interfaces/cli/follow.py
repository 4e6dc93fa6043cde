"""Starts a run, waits for it, shows its progress and reports its end; Ctrl-C detaches and stops nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NotRequired, TypeVar, cast

from pancode.conversation.answers import SESSION, TURN, SessionShape
from pancode.interfaces.cli.output import Face, exit_of, find_user, write_stderr
from pancode.interfaces.cli.progress import ProgressRow, SetUpLine, SetUpTimer
from pancode.interfaces.cli.terminal import (
    color_state,
    escape_line,
    format_count,
    format_seconds,
    format_usd,
    list_choices,
)
from pancode.interfaces.client import retry
from pancode.interfaces.client.client import Client, RepeatedPost, path_of
from pancode.interfaces.client.session import followed_log, in_turn
from pancode.kernel.errors import ApiError, ExitCode, PancodeError, UnavailableError, WorkspaceError
from pancode.kernel.formatting import count_noun, format_status, gate_state
from pancode.kernel.route import A, Route
from pancode.runs import answers

T = TypeVar("T")


def post_with_progress(
    face: Face,
    client: Client,
    route: Route[A],
    body: dict[str, Any],
    answered: Callable[[ApiError], Any] = lambda refused: None,
    words: RepeatedPost | None = None,
) -> A:
    """Like `retry.post_work`, but show the progress of snapshots. With `words`, a repeated request starts the
    work only once."""
    show = Snapshots(face, str(body.get("cwd") or "")).show

    def post(body: dict[str, Any]) -> A:
        return client.post_work(route, body, show) if words is None else words.post(client, route, body, show)

    return retry.post_work(face.note, client, body, post, answered)


def follow_new(face: Face, route: Route[answers.QueuedAnswer], body: dict[str, Any], detach: bool) -> int:
    """Start the run, wait for it, and return the exit status of its outcome. With `detach`, do not wait."""
    answer = post_with_progress(face, face.client(works=True), route, body)
    face.warn(answer["warnings"])
    if "answer" in answer:
        face.note(f"answered: {escape_line(answer['answer'])}")
    if "workflow" in answer:
        flow = answer["workflow"]
        face.note(f"{flow} continues with {answer['run']}; follow: pancode workflow show -f {flow}")
    if detach:
        show_queued(face, answer)
        return ExitCode.DONE
    client = face.client()
    ended = wait_for_run(face, client, answer["run"])
    if ended is None:
        return ExitCode.DETACHED
    whole = client.get(answers.RUN.at(ended["run"]))
    return face.end(exit_of(ended["outcome"]), ended, lambda: format_end(whole))


def show_queued(face: Face, answer: answers.QueuedAnswer) -> None:
    """Print the run that was queued, without its warnings, which were already printed."""
    report = {name: value for name, value in answer.items() if name != "warnings"}
    face.show(report, lambda: f"{answer['run']}  {answer['state']}  {escape_line(answer['reason'])}\n")


FINE = ("landed", "nothing to land")
"""The states of a landing that ended without a problem."""
LAND_LOOK_S = 0.3


NOT_SUSPENDED = "not_at_rest"
"""The coordinator's error code for a session that must be suspended first."""
_REST_S, _SUSPEND_LOOK_S = 2 * 3600.0, 0.5
"""Seconds to wait for a suspension (a turn, its commit and its gates may come first), and seconds between two
checks."""


def act_when_suspended(face: Face, client: Client, run: str, act: Callable[[str], T]) -> T:
    """Return the result of `act` for this run; first suspend a session whose program runs. ApiError."""
    try:
        return act(run)
    except ApiError as refused:
        if refused.code != NOT_SUSPENDED:
            raise
        interactive_run = refused.details["run"]  # by then, `last` may mean another run
    suspend_session(face, client, interactive_run)
    return act(interactive_run)


def suspend_session(face: Face, client: Client, run: str) -> SessionShape:
    """Suspend this interactive run after its current turn, wait until it is suspended, and return the
    session. Raises WorkspaceError if the turn waits for a user, UnavailableError if it takes too long."""
    requested = False
    for _ in range(int(_REST_S / _SUSPEND_LOOK_S)):
        shape = client.get(SESSION.at(run))
        runs, question = shape["interactive_runs"], shape["asks"]
        if next((one for one in runs if one["run"] == run), runs[-1])["state"] == "ended":
            return shape
        if question is not None:
            what = f"{run} waits for your answer before it can be suspended: {escape_line(question['words'])}"
            raise WorkspaceError(what, fix=f"{question['command']}; then run the same command again")
        if not requested and shape["state"] in ("works", "waits for you"):
            behind = "after its current turn" if shape["state"] == "works" else "first"
            face.note(f"  the session is suspended {behind}; it continues with your next message")
            in_turn(lambda: client.post(TURN.at(run), {"by": find_user(), "what": "rest"}))
            requested = True  # say so even if the run ended a moment ago
        time.sleep(_SUSPEND_LOOK_S)
    fix = f"wait for it: pancode attach {run}; or end its turn: pancode sessions end {run}"
    raise UnavailableError(f"{run} was not suspended in time", fix=fix)


class Snapshots:
    """Printer of the progress in answers of `/v1/snapshots`; skips a repeated line."""

    def __init__(self, face: Face, cwd: str) -> None:
        self._face = face
        self._mine = {str(folder) for folder in (Path(cwd), *Path(cwd).parents)} if cwd else set()
        self._last = ""

    def show(self, answer: dict[str, Any]) -> None:
        for one in answer.get("snapshots", []):
            # `of` (the number of files) is 0 until the files are counted.
            files = f": {one['done']:,} of {one['of']:,} files" if one["of"] else ""
            words = f"taking a snapshot{files}"
            if one["project"] in self._mine and words != self._last:
                self._face.note(words)
                self._last = words


def gate_lines(run: answers.RunDetail) -> list[str]:
    """Return a line with the result of each gate of a run, or one line if there were no gates."""
    if not run["gates"]:
        return ["  gates      none: this change is untested"] if run["commit"] else []
    gates = [(escape_line(one["name"]), gate_state(one)) for one in run["gates"]]
    return [f"  gates      {name}: {color_state(state.split(',')[0])}{state[6:]}" for name, state in gates]


def report_lines(run: answers.RunDetail, most: int) -> list[str]:
    """Return the lines of the test reports, with at most `most` results per file."""
    lines = list[str]()
    for report in run["reports"]:
        head = f"  report     {escape_line(report['file'])}"
        if report["unread"]:
            lines.append(f"{head}: unreadable: {escape_line(report['unread'])}")
            continue
        counts = ", ".join(f"{number} {escape_line(level)}" for level, number in report["counts"].items())
        tool = f" ({escape_line(report['tool'])})" if report["tool"] else ""
        lines.append(f"{head}{tool}: {counts or 'no result'}")
        for one in report["results"][:most]:
            line = f":{one['line']}" if one["line"] is not None else ""
            cells = (one["level"], f"{one['file']}{line}", one["rule"], one["text"])
            lines.append(f"    {escape_line('  '.join(filter(None, cells)))}")
        more = len(report["results"]) - most
        lines += [f"    and {more} more in the receipt"] if more > 0 else []
    return lines


class WaitedRun(answers.RunShape):
    """A run that has ended. `shown`: the end of the output that was shown while the run was active."""

    shown: NotRequired[str]


def wait_for_run(face: Face, client: Client, run: str, *, verbose: bool = False) -> WaitedRun | None:
    """Wait until the run ends and return it, with the output `shown` meanwhile; None if the user detached. A
    terminal shows one changing line; elsewhere only waits are printed, or with `verbose` each stage."""
    try:
        live, own = None, SetUpLine(Client(client.place, starts=False), run)
        row = ProgressRow(face, stays=False, leaves=verbose)
        with row as line, SetUpTimer(own, line.grow) if line.draws else nullcontext():
            for shape in watch_run(face, client, run):
                if shape["state"] == "ended":
                    if live is not None:
                        live.finish()
                        return {**shape, "shown": live.shown}
                    return cast(WaitedRun, shape)
                usage = shape["usage"]
                tokens = usage["input_tokens"] + usage["output_tokens"]
                spent = f", {format_count(tokens)} tokens" if tokens else ""
                waits = _stage_word(shape) is None
                line.show(_stage(shape), f"{shape['run']} {_stage(shape)}{spent}", stays=waits)
                if live is None and line.draws and shape["started_at"] is not None:
                    live = _begin_transcript(face, line, shape)
    except KeyboardInterrupt:
        pass
    report_detached(face, run)
    return None


JOIN_S = 3.0
KEPT = 100_000
"""How many characters of the shown output are kept for the end."""


class LiveTranscript(threading.Thread):
    """A thread that follows a run's output until the run ends, and shows it in whole lines."""

    def __init__(self, client: Client, run: str, runtime: str, show: Callable[[str], None]) -> None:
        super().__init__(name="transcript", daemon=True)
        self._client, self._run_id, self._lines = client, run, show
        self._rest = self.shown = ""
        from pancode.conversation.lines import LogStory  # imported only if the output is followed

        self._story = LogStory(runtime, self._add_piece)
        self._over = threading.Event()

    def run(self) -> None:
        """Show the output; reconnect after a broken connection. Ignore errors: the log has everything."""
        with suppress(PancodeError, OSError):
            log = followed_log(
                lambda gap: None, self._client, self._run_id, "out", wanted=lambda: not self._over.is_set()
            )
            for part in log:
                self._story.write(part.attempt, part.data)

    def finish(self) -> None:
        """Wait a moment for output that still arrives after the run's end, then end the display."""
        self.join(JOIN_S)
        self._over.set()
        self._story.end()
        self._add_piece("\n" if self._rest else "")

    def _add_piece(self, text: str) -> None:
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            self._lines(line)
            self.shown = f"{self.shown}{line}\n"[-KEPT:]


def _begin_transcript(face: Face, line: ProgressRow, shape: answers.RunShape) -> LiveTranscript:
    """Start to show the output of the run's agent, above the run's progress line."""
    from pancode.conversation.lines import MARK

    def show(text: str) -> None:
        line.above(text, dim=text.startswith(MARK))

    live = LiveTranscript(Client(face.client().place, starts=False), shape["run"], shape["runtime"], show)
    live.start()
    return live


def report_detached(face: Face, run: str) -> int:
    """Print how to follow or stop the detached run, and return the exit status."""
    write_stderr(f"\ndetached; {run} continues.  follow: pancode logs -f {run}   stop: pancode stop {run}\n")
    return ExitCode.DETACHED


def watch_run(face: Face, client: Client, run: str) -> Iterator[answers.RunShape]:
    """Yield the run at each change until it has ended, even if the coordinator restarts."""
    path = path_of("runs", run, "events")
    for event in retry.resume_stream(face.note, run, lambda: client.events("GET", path)):
        if event.kind == "run":
            yield event.data


_STAGES = {"placed": "starting", "preparing": "preparing", "running": "working"}
_STAGES |= {"verifying": "running its gates", "delivering": "delivering its result"}


def _stage_word(shape: answers.RunShape) -> str | None:
    """Return a phrase for the run's stage, such as "running its gates"; None while the run waits."""
    return _STAGES.get(shape["stage"]) if shape["waits"] is None else None


def _stage(shape: answers.RunShape) -> str:
    """Return the run's node and stage, or the reason why it waits or has a problem."""
    attempt = f", attempt {shape['attempt']}" if shape["attempt"] > 1 else ""
    notes = "".join(f" ({escape_line(note)})" for note in shape["notes"])
    word = _stage_word(shape)
    if word is not None:
        return f"on {escape_line(shape['node'] or '-')}: {word}{attempt}{notes}"
    waits = "waits: " if shape["waits"] is not None else ""
    return f"{waits}{escape_line(shape['reason']) or shape['state']}{attempt}{notes}"


_LOGS = {
    "setup_failed": "--stream setup ",
    **dict.fromkeys(("gate_failed", "gate_not_runnable", "gate_not_judged"), "--stream gates.log "),
}
"""Options of `runs logs`, by failure, for failures whose output is not in the agent's stream."""


def format_end(shape: answers.RunDetail) -> str:
    """Format the end of a run for a user who waited: how it ended, then what to do next."""
    where = f" on {escape_line(shape['node'])}" if shape["node"] else ""
    facts = ", ".join((shape["run"], format_run_time(shape), format_usd(shape["usage"]["cost_usd"])))
    if shape["outcome"] == "done":
        changed = f"{count_noun(len(shape['files_changed']), 'file')} changed"
        notes = (changed if shape["commit"] else "nothing changed", *map(escape_line, list_notes(shape)))
        lines = [f"{color_state('done')}: {', '.join(notes)}{where} ({facts})"]
    else:
        reason = format_reason(shape).removeprefix("gate ").removeprefix("it asks: ")
        lines = [f"{color_state(format_status(shape))}{where}: {reason} ({facts})"]
    landing = shape["landing"]
    if landing is not None:
        lines.append(_format_landing(landing))
    elif shape["status"] == "to_land":
        lines.append(f"review: pancode diff {shape['run']}   take it: pancode land {shape['run']}")
    return "\n".join([*lines, *_list_next_looks(shape)]) + "\n"


def format_reason(shape: answers.RunShape) -> str:
    """Return the reason of the run's end, without the outcome with which the reason begins."""
    return escape_line(shape["reason"]).removeprefix(shape["outcome"] or shape["state"]).lstrip(" ,:")


def list_notes(shape: answers.RunShape) -> list[str]:
    """Return the notes of a run that its status does not already show."""
    return [note for note in shape["notes"] if note != format_status(shape)]


def format_summary(shape: answers.RunDetail) -> str:
    """Summarize a finished run in a few lines; findings (such as a file left behind) are never left out."""
    notes = f" ({', '.join(list_notes(shape))})" if list_notes(shape) else ""
    reason, usage = format_reason(shape), shape["usage"]
    lines = [f"{shape['run']}  {color_state(format_status(shape))}{notes}{f'  {reason}' if reason else ''}"]
    source = f" ({usage['cost_source']})" if usage["cost_usd"] is not None else ""
    disputed = f", and {format_usd(usage['disputed_usd'])} disputed" if usage["disputed_usd"] else ""
    cost = f"cost {format_usd(usage['cost_usd'])}{source}{disputed}"
    lines.append(f"  on {shape['node'] or '-'}, {shape['runtime']}, {format_run_time(shape)}, {cost}")
    if shape["commit"]:
        files = len(shape["files_changed"])
        lines.append(f"  commit {shape['commit'][:12]}, {count_noun(files, 'file')} changed")
    lines += [f"  landing    {_format_landing(shape['landing'])}"] if shape["landing"] else []
    seen = shape["verification"]
    lines += [f"  tested     {escape_line(seen['why'])}"] if seen else []
    return "\n".join([*lines, *_list_next_looks(shape)]) + "\n"


def _list_next_looks(shape: answers.RunDetail) -> list[str]:
    """Return lines with the findings, the run's open questions, and the commands that explain a failure."""
    lines = [f"  finding    {escape_line(text)}" for text in shape["findings"]]
    item = shape["inbox"]
    if item:
        no = "" if item["kind"] == "call" else f"   no: pancode deny {shape['run']}"
        lines += [*list_choices(item["choices"]), f"  it waits for your answer: {item['command']}{no}"]
    if shape["outcome"] not in (None, "done"):
        failure = shape["attempts"][-1]["failure"] if shape["attempts"] else None
        stream = _LOGS.get(failure or "", "")
        look = f"  look: pancode logs {stream}{shape['run']} " if failure != "gate_missing" else ""
        servers = "   servers: pancode models ls --servers" if failure == "model_failed" else ""
        lines.append(f"{look}  why: pancode why {shape['run']}{servers}")
    return lines


def _format_landing(landing: answers.LandingShape) -> str:
    files = count_noun(len(landing.get("files", ())), "file")
    where = f" in {escape_line(landing['tree'])}, {files}, not committed" if landing.get("tree") else ""
    why = f": {escape_line(landing['why'])}" if landing.get("why") else ""
    tracker = f"\n  tracker: {escape_line(landing['tracker'])}" if landing.get("tracker") else ""
    return f"{escape_line(landing['status'])}{where}{why}{tracker}"


def format_run_time(shape: answers.RunShape) -> str:
    """Return the duration of a run; for a run that has not ended, the time since its start."""
    if shape["started_at"] is None:
        return "-" if shape["outcome"] is None else "never started"
    if shape["finished_at"] is None:
        return "not ended"
    return format_interval(shape["started_at"], shape["finished_at"])


def format_interval(begin: str, end: str) -> str:
    """Format the time between the two moments."""
    from datetime import datetime

    seconds = max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds())
    return format_seconds(round(seconds, 1))


def add_tracker(client: Client, run: str, landing: answers.LandingShape | None) -> None:
    """Add to a change that has landed what the tracker shows of its issue."""
    if landing is not None and landing["status"] == "landed":
        with suppress(PancodeError):  # the change has landed, whatever the tracker says
            landing |= {"tracker": client.get(answers.TRACKER.at(run))["tracker"]}


def wait_for_landing(face: Face, client: Client, run: str) -> answers.RunDetail | None:
    """Return the run once the landing that its `--land` requests has ended. None if the user detached
    meanwhile."""
    noted = False
    try:
        while True:
            shape = client.get(answers.RUN.at(run))
            landing = shape["landing"]
            if landing is None or landing["status"] != "waiting":
                add_tracker(client, run, landing)
                return shape
            if not noted:
                face.note(f"  {run}  landing, gates first")
            noted = True
            time.sleep(LAND_LOOK_S)
    except KeyboardInterrupt:
        face.note(f"\ndetached; the run continues.  status: pancode runs show {run}")
        return None


def unless_landed(shape: answers.RunDetail) -> None:
    """Raise WorkspaceError if the run is done but its change was not landed as requested."""
    report = shape["landing"]
    if shape["outcome"] == "done" and report is not None and report["status"] not in FINE:
        item = shape["inbox"]
        fix = item["command"] if item else report["fix"] or f"pancode land {shape['run']}"
        raise WorkspaceError(f"not landed: {report['status']}", why=report["why"], fix=fix)
