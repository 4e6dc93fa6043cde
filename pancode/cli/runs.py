"""`pancode runs`: the last runs, and everything that is done with one."""

from __future__ import annotations

import base64
import sys
import threading
from contextlib import suppress
from typing import Any

import click

from pancode.cli import known
from pancode.cli import landing as landings
from pancode.cli.dispatch import safe_block
from pancode.cli.exams import admitted
from pancode.cli.face import Face, example, json_option, who
from pancode.cli.follow import cost, detached, lasted, resumed, summary, wait
from pancode.cli.lazy import DefaultGroup
from pancode.cli.render import Sink, at_head, clip, harmless, safe, short_time, size, table, usd, zone
from pancode.cli.tell import exit_of
from pancode.cli.transcript import Story, story_for
from pancode.client import Client, FleetDownError, path_of
from pancode.counted import counted
from pancode.errors import ExitCode, UsageError


@click.group(
    "runs",
    cls=DefaultGroup,
    default="ls",
    numbered=True,
    epilog=example("pancode runs 5", "pancode runs show last"),
)
def runs() -> None:
    """The last runs (20, or as many as you say); a RUN may be any unambiguous prefix, or `last`."""


@runs.command(
    "ls",
    epilog=example(
        "pancode runs 50",
        "pancode runs --node gpubox --outcome verify_failed --since 3d",
        "pancode runs --text 'export' --agent builder",
    ),
)
@click.argument("number", type=click.IntRange(1, 10_000), default=20)
@click.option("--node", shell_complete=known.nodes, metavar="N", help="Only those of this machine.")
@click.option("--agent", shell_complete=known.agents, metavar="A", help="Only those of this agent.")
@click.option("--outcome", metavar="O", help="Only those that ended so, as done or error; or are running.")
@click.option("--since", metavar="T", help="Only those asked for since: 90m, 2h, 3d, 2026-11-22.")
@click.option("--text", metavar="T", help="Only those whose task has this text.")
@click.option("--limit", type=click.IntRange(1, 10_000), metavar="N", help="At most so many, as NUMBER.")
@json_option
def ls(number: int, limit: int | None, face: Face, **wanted: str | None) -> None:
    """The newest runs, newest first."""
    answer = face.client().get("/v1/runs", limit=limit or number, **wanted)
    face.show(answer, lambda: _listed(answer["runs"], filtered=any(wanted.values())))


def _listed(found: list[dict[str, Any]], filtered: bool = False) -> str:
    if not found:
        return "no such run\n" if filtered else 'no run yet; try: pancode dispatch "..."\n'
    rows = [
        (
            r["run"],
            r["outcome"] or r["state"],
            r["node"],
            r["agent"],
            r["runtime"],
            r["model"],
            lasted(r),
            cost(r),
            short_time(r["created_at"]),
            clip(safe(r["task"]), 60) + "".join(f"  ({note})" for note in r["notes"]),
        )
        for r in found
    ]
    head = ("RUN", "STATE", "NODE", "AGENT", "RUNTIME", "MODEL", "TOOK", "COST", at_head(), "TASK")
    return table(head, rows, toned=("STATE",))


@runs.command(epilog=example("pancode runs show last"))
@click.argument("run", shell_complete=known.runs)
@json_option
def show(run: str, face: Face) -> None:
    """Everything about one run."""
    answer = face.client().get(path_of("runs", run))
    face.show(answer, lambda: _shown(answer))


_KEYS = (
    *("task", "agent", "model", "reasoning", "mode", "safety", "isolation", "project", "folder", "verify"),
    *("receipt", "landed"),
)


def _shown(run: dict[str, Any]) -> str:
    lines = [f"  {key:<10} {safe(_word(run[key]))}" for key in _KEYS if run[key] not in (None, [], "")]
    lines += [
        f"  {key:<10} {short_time(run[f'{key}_at'])}{zone()}"
        for key in ("created", "started", "finished")
        if run[f"{key}_at"]
    ]
    lines += [f"  {key:<10} {safe(words)}" for key, words in _of_model(run)]
    lines += [f"  calls      {_calls(run)}"] if run["calls"] else []
    lines += [f"  gate       {safe(_gate(gate))}" for gate in run["gates"]]
    lines += [f"  file       {safe(name)}" for name in run["files_changed"][:50]]
    answer = f"\n{safe_block(run['answer'])}" if run["answer"] else ""
    return summary(run) + "\n".join(lines) + "\n" + answer


def _of_model(run: dict[str, Any]) -> list[tuple[str, str]]:
    """Who chose it, and the model server that had it."""
    lines = [("chosen by", run["model_from"])] if run["model_from"] else []
    about = run["served"]
    if about:
        lines.append(("endpoint", f"{about['endpoint']} of {about['node']}, {about['words']}"))
    return lines


def _calls(run: dict[str, Any]) -> str:
    """What the model gateway counted, and beside it what the runtime says of the same."""
    calls, claimed = run["calls"], run["claimed"]
    if calls.get("subscription"):
        went = f"{size(calls['sent_bytes'])} out, {size(calls['received_bytes'])} in; {_tokens(run['usage'])}"
        return f"subscription, not metered: {counted(calls['requests'], 'connection')}, {went}"
    notes = [f"{calls[name]} {name}" for name in ("failed", "refused", "unread") if calls[name]]
    notes += ["the last one to wrap up"] if calls.get("wrap_up") else []
    told = f" ({', '.join(notes)})" if notes else ""
    through = f"{calls['requests']} through the model gateway{told}"
    said = f"; the runtime says {_tokens(claimed)}" if claimed else ""
    waited = f"; waited {calls['waited_ms'] / 1000:.1f} s for a free slot" if calls.get("waited_ms") else ""
    return f"{through}: {_tokens(run['usage'])}{said}{waited}"


def _tokens(usage: dict[str, Any]) -> str:
    cost = "" if usage["cost_usd"] is None else f", {usd(usage['cost_usd'])}"
    return f"{usage['input_tokens']} tokens in, {usage['output_tokens']} out{cost}"


def _gate(gate: dict[str, Any]) -> str:
    return f"{gate['name']}: {'passed' if gate['passed'] else 'FAILED'}, exit {gate['exit_code']}"


def _word(value: Any) -> str:
    return ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)


@runs.command(epilog=example("pancode runs logs -f last", "pancode runs logs r-7f3k --stream err"))
@click.argument("run", shell_complete=known.runs)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended; Ctrl-C detaches.")
@click.option("--raw", is_flag=True, help="The program's own output, byte by byte, where that is events.")
@click.option(
    "--stream", metavar="NAME", help="Only this one, raw (default: out, and err on standard error)."
)
@click.option("--attempt", default="", metavar="A.F", help="Attempt and fence, as runs show names them.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Begin at this byte (needs --stream).")
@json_option
def logs(run: str, follow: bool, stream: str | None, face: Face, **given: Any) -> int:
    """What a run's agent says and does, from the stored log; scripts and other streams as they are."""
    attempt, offset = given["attempt"], given["offset"]
    if offset and not stream:
        raise UsageError(
            "--offset counts in one stream", fix=f"pancode runs logs {run} --stream out --offset {offset}"
        )
    client = face.client()
    told = client.get(path_of("runs", run, "brief"))
    outs = {stream: sys.stdout} if stream else {"out": sys.stdout, "err": sys.stderr}
    sinks: dict[str, Sink | Story] = {one: Sink(out) for one, out in outs.items()}
    if not (given["raw"] or stream or face.as_json):
        sinks["out"] = story_for(told["runtime"], Sink(sys.stdout)) or sinks["out"]
    if follow:
        return _follow(face, client, (told["run"], attempt, offset), sinks)
    for one, sink in sinks.items():
        _copy(face, client, (told["run"], one, attempt), offset, sink)
    return ExitCode.DONE


def _copy(face: Face, client: Client, what: tuple[str, str, str], offset: int, sink: Sink | Story) -> None:
    run, stream, attempt = what
    state = "more"
    while state == "more":
        part = client.log(run, stream, attempt, offset)
        attempt, offset, state = part.attempt, part.next, part.state
        _emit(face, stream, attempt, offset, part.data, sink)
    if isinstance(sink, Story):
        sink.end()


def _emit(face: Face, stream: str, attempt: str, next_: int, data: bytes, sink: Sink | Story) -> None:
    """Bytes as they are; as JSON one object per piece, with where the next one begins."""
    if not data:
        return
    if face.as_json:
        piece = {"stream": stream, "attempt": attempt, "next": next_, "text": data.decode("utf-8", "replace")}
        face.show(piece, str)
    elif isinstance(sink, Story):
        sink.write(attempt, data)
    else:
        sink.write(data)


def _follow(face: Face, client: Client, start: tuple[str, str, int], sinks: dict[str, Sink | Story]) -> int:
    run = start[0]
    threads = [
        threading.Thread(target=_stream, args=(face, client, start, stream, sink), daemon=True)
        for stream, sink in sinks.items()
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
    except KeyboardInterrupt:
        return detached(face, run)
    return exit_of(client.get(path_of("runs", run, "brief"))["outcome"])


def _stream(face: Face, client: Client, start: tuple[str, str, int], stream: str, sink: Sink | Story) -> None:
    """One stream to its end; cut off, it goes on at the byte where it was."""
    run, attempt, offset = start
    place: dict[str, Any] = {"attempt": attempt or None, "offset": offset}

    def begin() -> Any:
        query = {"follow": "1", "stream": stream, **place}
        return client.events("GET", path_of("runs", run, "log"), query=query)

    with suppress(FleetDownError):  # `_follow` asks once more, and tells
        for event in resumed(face, run, begin):
            if event.kind == "attempt":
                place.update(attempt=event.data["attempt"], offset=0)
            elif event.kind == "log":
                data = base64.b64decode(event.data["b64"])
                place.update(attempt=event.data["attempt"], offset=event.data["next"])
                _emit(face, stream, event.data["attempt"], event.data["next"], data, sink)
    if isinstance(sink, Story):
        sink.end()


@runs.command(epilog=example("pancode runs stop last --reason 'wrong branch'"))
@click.argument("run", shell_complete=known.runs, required=False)
@click.option("--reason", default="", help="Goes into the run's story.")
@json_option
def stop(run: str | None, reason: str, face: Face) -> None:
    """Ask a run to end (without RUN: the one that was started last of those that run); its node confirms."""
    client = face.client()
    answer = client.post(
        path_of("runs", "running" if run is None else run, "stop"), {"by": who(), "reason": reason}
    )
    words = "; ".join(safe(text) for text in (answer["reason"], *answer["notes"]))
    face.show(answer, lambda: f"{answer['run']}  {answer['outcome'] or answer['state']}  {words}\n")


@runs.command(epilog=example("pancode runs retry last"))
@click.argument("run", shell_complete=known.runs)
@click.option("--detach/--wait", default=False, help="Do not wait for the result (default: wait).")
@json_option
def retry(run: str, detach: bool, face: Face) -> int:
    """The same work as a new run; a lost one is given up for good."""
    answer = admitted(face, face.client(works=True), path_of("runs", run, "retry"), {"by": who()})
    for warning in answer.pop("warnings", []):
        face.note(f"warning: {safe(warning)}")
    if detach:
        face.show(answer, lambda: f"{answer['run']}  {answer['state']}  {safe(answer['reason'])}\n")
        return ExitCode.DONE
    client = face.client()
    ended = wait(face, client, answer["run"])
    if ended is None:
        return ExitCode.DETACHED
    findings = client.get(path_of("runs", ended["run"]))["findings"]
    return face.end(exit_of(ended["outcome"]), ended, lambda: summary({**ended, "findings": findings}))


@runs.command(epilog=example("pancode runs diff last | git apply --stat"))
@click.argument("run", shell_complete=known.runs)
@click.option("--stat", is_flag=True, help="Only the files, with counted lines.")
@json_option
def diff(run: str, stat: bool, face: Face) -> None:
    """What a run changed, as a patch that git apply takes."""
    change = face.client().raw(path_of("runs", run, "diff"), stat=stat)
    if face.as_json:
        face.show({"run": run, "diff": change.decode("utf-8", "replace")}, str)
        return
    sys.stdout.buffer.write(harmless(change, sys.stdout))
    sys.stdout.buffer.flush()


@runs.command(epilog=example("pancode runs land last"))
@click.argument("run", shell_complete=known.runs)
@click.option("--no-gates", is_flag=True, help="Do not run the gates again on the merged tree.")
@click.option("--anyway", is_flag=True, help="Also the change of a run that did not end as done.")
@click.option(
    "--with-commands", is_flag=True, help="Also files that decide what runs next, such as .github/."
)
@click.option("--with-secret", is_flag=True, help="Also a file into which the run wrote one of its secrets.")
@click.option("--branch", metavar="NAME", help="As a commit on this branch, new or not; your files stay.")
@click.option("-m", "--message", metavar="TEXT", help="Of that commit (default: the run's task).")
@json_option
def land(run: str, face: Face, **given: Any) -> int:
    """Merge a run's change into your tree; on a conflict, or Ctrl-C, your files stay as they are."""
    if given["message"] and not given["branch"]:
        raise UsageError("-m is the message of a commit, and none is made", fix="add --branch NAME")
    body = {name: value for name, value in given.items() if value and name != "no_gates"}
    answer = landings.land(face, face.client(), run, {"gates": not given["no_gates"], **body})
    face.show(answer, lambda: landings.landing(answer))
    return ExitCode.INTERRUPTED if answer["status"] == "called off" else ExitCode.DONE
