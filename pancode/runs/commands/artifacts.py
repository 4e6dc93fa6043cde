"""Writes a run's artifacts for a CI job: receipt, change, logs, JUnit, and the run as JSON."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from pancode.interfaces.client.client import Client, path_of
from pancode.kernel.errors import UsageError
from pancode.runs.answers import RECEIPT, RUN, STREAMS, GateResultShape, RunDetail

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


def make_junit(run: RunDetail) -> bytes:
    """Return JUnit test cases: the run, each gate (with reasons for failures), and the gates' own tests."""
    # Each failed gate is a test case of its own.
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
    """Return why the gate failed; None if it passed. The gate's output is in the run's logs."""
    code = gate["exit_code"]
    if not gate["judged"]:
        return "a limit of the run stopped the gate before it had a result"
    return None if gate["passed"] else "the gate did not start" if code is None else f"exit {code}"


def _escape_xml(text: str) -> str:
    """Return the text with "?" for each character that XML cannot contain."""
    return re.sub("[^\t\n\r\x20-\ufffd\U00010000-\U0010ffff]", "?", text)


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
