"""`pancode dispatch --headless`: one task on a fleet only for it, and its result as files for a CI job."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any
from xml.etree import ElementTree as Xml

import typer

from pancode.fleet.answers import PING
from pancode.fleet.commands.fleet import start_nodes, take_down
from pancode.interfaces.cli.parameters import Face, find_user
from pancode.interfaces.client.client import Client, path_of
from pancode.interfaces.client.connection import NotRunningError
from pancode.kernel.errors import PancodeError, UnavailableError, UsageError
from pancode.runs.answers import BRIEF, RECEIPT, RUN, STOP, STREAMS, GateResultShape, QueuedAnswer, RunDetail
from pancode.runs.commands.dispatch_requests import must_be_task, queue_run, wait_and_show


def make_junit(run: RunDetail) -> bytes:
    """Return the agent's end and each gate as test cases, with reasons for failures; then gates' tests."""
    # A failed gate is a test case of its own.
    passed = run["outcome"] in ("done", "verify_failed")
    cases = [_make_case("agent", run["agent"], None if passed else f"{run['outcome']}: {run['reason']}")]
    cases += [_make_case("gate", str(gate["name"]), _failed_gate(gate)) for gate in run["gates"]]
    suites = [_make_suite(f"pancode {run['run']}", cases)]
    for report in run["reports"]:
        if report["form"] == "junit":
            failed = []
            for one in report["results"]:
                where = f" ({one['file']})" if one["file"] else ""
                failure = f"{one['text'] or one['level']}{where}"
                failed.append(_make_case("test", one["rule"] or "no name", failure))
            suites.append(_make_suite(_escape_xml(report["tool"] or report["file"]), failed))
    root = Xml.Element("testsuites", _make_counts([case for suite in suites for case in suite]))
    root.extend(suites)
    text: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _make_suite(name: str, cases: list[Xml.Element]) -> Xml.Element:
    suite = Xml.Element("testsuite", {"name": name, **_make_counts(cases)})
    suite.extend(cases)
    return suite


def _make_counts(cases: list[Xml.Element]) -> dict[str, str]:
    failed = sum(case.find("failure") is not None for case in cases)
    return {"tests": str(len(cases)), "failures": str(failed), "errors": "0"}


def _make_case(kind: str, name: str, failure: str | None) -> Xml.Element:
    case = Xml.Element("testcase", {"classname": f"pancode.{kind}", "name": _escape_xml(name)})
    if failure is not None:
        Xml.SubElement(case, "failure", {"message": _escape_xml(failure[:300])}).text = _escape_xml(failure)
    return case


def _failed_gate(gate: GateResultShape) -> str | None:
    """Return why the gate failed; None if it passed. Its output is in the run's logs."""
    code = gate["exit_code"]
    if not gate["judged"]:
        return "a limit of the run stopped the gate before a result"
    return None if gate["passed"] else "it did not start" if code is None else f"exit {code}"


def _escape_xml(text: str) -> str:
    """Return the text with "?" for each character that XML cannot contain."""
    return re.sub("[^\t\n\r\x20-\ufffd\U00010000-\U0010ffff]", "?", text)


KNOWN = "run.json junit.xml answer.md receipt.json change.diff out.log err.log".split()
"""The files that a later command with the same folder replaces or removes."""


def write_artifacts(client: Client, run: str, folder: Path) -> list[str]:
    """Write the run's artifacts into the folder; return the files' names. UsageError if not writable."""
    shown = client.get(RUN.at(run))
    # Here are all files except the logs.
    texts: dict[str, Callable[[], bytes]] = {
        "run.json": lambda: _dump_json(shown),
        "junit.xml": lambda: make_junit(shown),
        "answer.md": lambda: str(shown["answer"]).encode(),
    }
    if shown["receipt"]:
        texts["receipt.json"] = lambda: _dump_json(client.get(RECEIPT.at(run)))
    if shown["commit"]:
        texts["change.diff"] = lambda: client.raw(path_of("runs", run, "diff"))
    try:
        if folder.is_symlink():
            raise OSError(f"{folder} is a symbolic link, which the repository may have created")
        folder.mkdir(parents=True, exist_ok=True)
        for name in KNOWN:
            (folder / name).unlink(missing_ok=True)  # Remove the files of an earlier run.
        for name, made in texts.items():
            _write(folder / name, [made()])
        # The logs are those of the successful attempt, else of the newest one.
        attempts = client.get(STREAMS.at(run))["streams"]
        logs = [f"{stream}.log" for stream in sorted({name for names in attempts.values() for name in names})]
        for name in logs:
            _write(folder / name, _read_pieces(client, run, name.removesuffix(".log")))
    except OSError as exc:
        fix = "pass a writable directory to --artifacts"
        raise UsageError(f"cannot write to {folder}", why=str(exc), fix=fix) from exc
    return sorted([*texts, *logs])


def _write(target: Path, pieces: Iterable[bytes]) -> None:
    """Write a file and rename it to the target, so that a link at the target is replaced and not followed."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    with os.fdopen(handle, "wb") as file:
        for piece in pieces:
            file.write(piece)
    os.chmod(name, 0o644)
    os.replace(name, target)


def _read_pieces(client: Client, run: str, stream: str) -> Iterator[bytes]:
    """Yield the run's log of this stream, from its beginning to its end, in pieces."""
    offset = 0
    while True:
        part = client.log(run, stream, "", offset)
        yield part.data
        if part.state != "more" or part.next <= offset:
            return
        offset = part.next


def _dump_json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


STOPS_S = 60
"""Seconds that a stopped run has to end."""


def run_headless(face: Face, ctx: typer.Context, artifacts: Path | None, *, keep_fleet: bool) -> int:
    """Run the task on a fleet started only for it, and stop the fleet afterwards, even after a signal."""
    must_be_task(ctx)  # Check this before a fleet is started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # CI systems cancel a job with SIGTERM.
    with _keep_fleet_up(face, ends=not keep_fleet):
        return run_with_artifacts(face, ctx, artifacts, headless=True)


def run_with_artifacts(face: Face, ctx: typer.Context, artifacts: Path | None, *, headless: bool) -> int:
    """Queue the run, wait for its end, and write its artifacts, however the wait ends."""
    answer: QueuedAnswer | None = None
    try:
        with _hold_signals() if headless else nullcontext():
            begun = answer = queue_run(face, ctx, interactive=not headless)
        return wait_and_show(face, begun)
    finally:
        if answer is not None:
            run = answer["run"]
            client = face.client(starts=False)
            ended = _stop_unended(face, client, run) if headless else _has_ended(client, run)
            if artifacts is not None and ended:
                names = write_artifacts(client, run, artifacts)
                face.note(f"artifacts in {artifacts}: {', '.join(names)}")


@contextmanager
def _hold_signals() -> Iterator[None]:
    """Delay the first Ctrl-C or SIGTERM until the run has an id, as a run that cannot be stopped would keep
    the fleet running. A second signal interrupts immediately."""
    came: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if came:
            signal.default_int_handler(number, frame)
        came.append(number)

    before = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _has_ended(client: Client, run: str) -> bool:
    return bool(client.get(BRIEF.at(run))["state"] == "ended")


def _stop_unended(face: Face, client: Client, run: str) -> bool:
    """Stop the run, if it has not ended, as its caller stopped waiting; return whether it ended in time."""
    if _has_ended(client, run):
        return True
    face.note(f"stopping {run}: the command that waited for it has ended")
    client.post(STOP.at(run), {"by": find_user(), "reason": "pancode dispatch --headless was interrupted"})
    for _ in range(STOPS_S):
        if _has_ended(client, run):
            return True
        time.sleep(1)
    face.note(f"{run} did not end within {STOPS_S} s; see: pancode runs show {run}")
    return False


@contextmanager
def _keep_fleet_up(face: Face, *, ends: bool) -> Iterator[None]:
    """Keep a fleet running during the block; afterwards stop it if it was started here and `ends` is true."""
    if _is_running(face):
        yield
        return
    client = face.client(works=True)
    try:
        rows = start_nodes(face, client, [])["results"]
        if not any(one["ok"] for one in rows):
            whys = [f"{one['node']}: {problem['what']}" for one in rows for problem in one["problems"]]
            what = "no node of the fleet started"
            raise UnavailableError(what, why="; ".join(whys), fix="pancode fleet up")
        yield
    finally:
        if ends:
            _end(face, client)


def _end(face: Face, starting: Client) -> None:
    """Stop the fleet, unless others use it. An error here does not hide an earlier error.

    `starting`: the client that started a coordinator which may not answer yet.
    """
    client = face.client(starts=False)
    try:
        take_down(face, client)
    except NotRunningError:
        from pancode.app.server.leftovers import end_left

        starting.end_started()
        if isinstance(client.place, Path):
            end_left(client.place)
    except PancodeError as error:
        why = f"{error}: {error.why}" if error.why else str(error)
        face.note(f"the fleet continues to run: {why}; to stop it: pancode fleet down")


def _is_running(face: Face) -> bool:
    """Whether a coordinator already answers, in which case others use it."""
    try:
        face.client(starts=False).get(PING)
    except NotRunningError:
        return False
    return True
