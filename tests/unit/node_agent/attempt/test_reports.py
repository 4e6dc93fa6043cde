"""Reports of gates: what JUnit and SARIF say, within bounds; and a hostile one is said to be unreadable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node_agent.attempt import reports as sarif_reader
from node_agent.attempt.reports import MOST_CHARS, MOST_REPORT, gate_reports
from node_agent.wire.failure import Outcome
from node_agent.wire.order import Gate
from node_agent.wire.receipt import MOST_RESULTS, GateReport
from node_agent.workspace.folders import clear_reports, read_reports
from tests.fakes.node import Script
from tests.unit.node_agent.attempt.test_job import NAME, run

JUNIT = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" tests="4">
<properties><property name="error" value="x"/></properties>
<testcase classname="t.test_a" name="test_ok"/>
<testcase classname="t.test_a" name="test_bad" file="/tree/t/a.py" line="7">
 <failure message="hunter2 &lt; 3">trace</failure><system-out>noise</system-out></testcase>
<testcase name="test_odd"><error>it
  broke</error></testcase>
<testcase name="test_later"><skipped message="later"/></testcase>
</testsuite></testsuites>"""


def sarif(*results: dict[str, Any], **driver: Any) -> bytes:
    tool = {"driver": {"name": "ruff", "version": "0.8", **driver}}
    return json.dumps({"version": "2.1.0", "runs": [{"tool": tool, "results": results}]}).encode()


def result(level: str = "", uri: str = "a.py", line: Any = 3, **more: Any) -> dict[str, Any]:
    place = {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": line}}}
    told = {"ruleId": "F401", "message": {"text": "unused"}, "locations": [place], **more}
    return {**told, "level": level} if level else told


def read(data: bytes | None) -> GateReport:
    found = {} if data is None else {"r": data}
    (report,) = gate_reports(("r",), found, "/tree", lambda text: text.replace("hunter2", "***"))
    return GateReport.model_validate_json(report.model_dump_json())


def test_junit_is_counted_and_its_failures_are_told() -> None:
    report = read(JUNIT)
    assert (report.form, report.tool, report.unread) == ("junit", "pytest", "")
    assert report.counts == {"passed": 1, "failed": 1, "error": 1, "skipped": 1}
    assert [(one.level, one.rule, one.file, one.line, one.text) for one in report.results] == [
        ("error", "test_odd", "", None, "it broke"),
        ("failed", "t.test_a.test_bad", "t/a.py", 7, "*** < 3"),
    ]


def test_sarif_is_counted_and_the_worst_come_first() -> None:
    rules = [{"id": "F401", "defaultConfiguration": {"level": "note"}}]
    data = sarif(
        result(),
        result("warning", line="x"),
        result("error", "file:///tree/b%20c.py"),
        result(kind="pass"),
        result("error", suppressions=[{"kind": "inSource"}]),
        {},
        rules=rules,
    )
    report = read(data)
    assert (report.form, report.tool) == ("sarif", "ruff 0.8")
    assert report.counts == {"note": 1, "warning": 2, "error": 1, "none": 1}
    first, second, *_ = report.results
    assert (first.level, first.rule, first.file, first.line) == ("error", "F401", "b c.py", 3)
    assert (second.level, second.file, second.line) == ("warning", "a.py", None)


WRONG: list[Any] = [7, None, "x", [], {}, [[]], [7], {"a": 1}, True]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_value_of_another_kind_is_taken_as_absent(wrong: Any) -> None:
    for key in ("ruleId", "rule", "message", "locations", "level", "kind", "suppressions"):
        assert read(sarif({**result(), key: wrong})).unread == ""
    for key in ("tool", "results"):
        assert read(json.dumps({"runs": [{key: wrong}, wrong]}).encode()).unread == ""
    rules = [wrong, {"id": wrong, "defaultConfiguration": {"level": wrong}}]
    assert read(sarif(result(), rules=rules)).unread == ""
    assert read(sarif(result(line=wrong, uri=wrong))).results


_BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><testsuites>&b;</testsuites>'


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "no gate has written it"),
        (b"", "neither JUnit"),
        (b"\x00\x01", "neither JUnit"),
        (b" " * (MOST_REPORT + 1), "larger than 2 MB"),
        (b"{", "not JSON"),
        (b'{"a": \xff}', "not JSON"),
        (b'{"runs": ' + b"[" * 200_000, "nested too deeply|not JSON"),
        (b'{"runs": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b'{"runs": {}}', "not SARIF"),
        (b"<html></html>", "not JUnit"),
        (b"<testsuites>", "not XML"),
        (b'<?xml version="1.0" encoding="nonsense"?><testsuites/>', "not XML"),
        (b"<testsuites>" * 100, "nested too deeply"),
        (_BOMB.encode(), "document type"),
        (_BOMB.encode("utf-16"), "neither JUnit|document type"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><testsuites/>', "document type"),
    ],
)
def test_what_tells_nothing_is_said_so(data: bytes | None, why: str) -> None:
    report = read(data)
    assert report.unread and report.results == () and report.counts == {} and report.form == "unknown"
    assert any(one in report.unread for one in why.split("|")), report.unread


def test_many_results_are_counted_and_the_first_are_told() -> None:
    report = read(sarif(*[result("error")] * 5_000))
    assert report.counts == {"error": 5_000} and len(report.results) == MOST_RESULTS
    long = sarif(*[result("error", uri="é" * 900, message={"text": "y" * 9_000})] * 100)
    every = gate_reports(tuple("abcdefgh"), dict.fromkeys("abcdefgh", long), "/", str)
    told = [len(one.file + one.rule + one.text) for report in every for one in report.results]
    assert MOST_CHARS * 0.9 < sum(told) <= MOST_CHARS and every[-1].counts == {"error": 100}
    odd = read(sarif(result("error", message={"text": "\ud800\x00\x1b[31m"})))
    assert odd.results[0].text == "??\x1b[31m", "a terminal is shown it without its escape"


class _Name(str):
    """Counts how often it is compared with another one."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        _Name.compared += 1
        return str.__eq__(self, other)


def test_a_file_of_very_many_tools_is_read_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name was held against all others: 40,000 runs in 1.4 MB kept a node busy for minutes."""
    monkeypatch.setattr(sarif_reader, "_tool", lambda run: _Name(run["tool"]["driver"]["name"]))
    runs = [{"tool": {"driver": {"name": f"t{number}"}}} for number in range(1_000)]
    report = read(json.dumps({"runs": [*runs[:1], *runs]}).encode())
    assert report.tool == ", ".join(f"t{number}" for number in range(8)), "each once, and no more"
    assert _Name.compared < 3 * len(runs)


def test_they_are_in_the_receipt_and_change_no_verdict() -> None:
    script = Script(reports=(("out/j.xml", JUNIT),))
    gates, files = (Gate(name="g", argv=("true",)),), ("out/j.xml", "none.sarif")
    claims = run(script, gates=gates, reports=files).claims[NAME]
    assert claims.outcome is Outcome.DONE
    assert [(one.form, one.unread) for one in claims.reports] == [
        ("junit", ""),
        ("unknown", "no gate has written it as a plain file"),
    ]
    assert run(script, reports=("out/j.xml",)).claims[NAME].reports == (), "no gate, no report"


def test_what_the_agent_has_laid_there_is_no_report_and_no_link_is_followed(tmp_path: Path) -> None:
    tree, away = tmp_path / "tree", tmp_path / "away"
    (tree / "out").mkdir(parents=True)
    away.mkdir()
    for file in (tree / "out/forged.xml", away / "secret", tree / "plain"):
        file.write_text("{}")
    (tree / "link.xml").symlink_to(away / "secret")
    (tree / "far").symlink_to(away)
    (tree / "folder.xml").mkdir()
    names = ("out/forged.xml", "link.xml", "far/secret", "folder.xml", "plain/below", "absent/x")
    assert read_reports(tree, names) == {"out/forged.xml": b"{}"}
    (tree / "out").chmod(0o500)
    for _ in range(2):
        clear_reports(tree, names)
    assert read_reports(tree, names) == {} and (away / "secret").exists() and (tree / "plain").exists()
