"""Reports of gates: what JUnit says, within bounds; and a hostile one is said to be unreadable."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.attempt.gate_reports import MOST_CHARS, MOST_REPORT, gate_reports
from node_agent.wire.failure import Outcome
from node_agent.wire.job import Gate
from node_agent.wire.receipt import MOST_RESULTS, GateReport
from node_agent.workspace.folders import clear_reports, read_reports
from tests.fakes.node import Script
from tests.unit.node_agent.attempt.test_procedure import NAME, run

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


def junit(count: int, name: str, words: str) -> bytes:
    case = f'<testcase name="t" file="{name}"><failure message="{words}"/></testcase>'
    return f"<testsuite>{case * count}</testsuite>".encode()


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


_BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><testsuites>&b;</testsuites>'


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "no gate has written it"),
        (b"", "not JUnit"),
        (b"\x00\x01", "not JUnit"),
        (b" " * (MOST_REPORT + 1), "larger than 2 MB"),
        (b'{"version": "2.1.0", "runs": []}', "not JUnit"),
        (b"<html></html>", "not JUnit"),
        (b"<testsuites>", "not XML"),
        (b'<?xml version="1.0" encoding="nonsense"?><testsuites/>', "not XML"),
        (b"<testsuites>" * 100, "nested too deeply"),
        (_BOMB.encode(), "document type"),
        (_BOMB.encode("utf-16"), "not JUnit|document type"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><testsuites/>', "document type"),
    ],
)
def test_what_tells_nothing_is_said_so(data: bytes | None, why: str) -> None:
    report = read(data)
    assert report.unread and report.results == () and report.counts == {} and report.form == "unknown"
    assert any(one in report.unread for one in why.split("|")), report.unread


def test_many_results_are_counted_and_the_first_are_told() -> None:
    report = read(junit(5_000, "t", "broken"))
    assert report.counts == {"failed": 5_000} and len(report.results) == MOST_RESULTS
    long = junit(100, "é" * 900, "y" * 9_000)
    every = gate_reports(tuple("abcdefgh"), dict.fromkeys("abcdefgh", long), "/", str)
    told = [len(one.file + one.rule + one.text) for report in every for one in report.results]
    assert MOST_CHARS * 0.9 < sum(told) <= MOST_CHARS and every[-1].counts == {"failed": 100}


def test_they_are_in_the_receipt_and_change_no_verdict() -> None:
    script = Script(reports=(("out/j.xml", JUNIT),))
    gates, files = (Gate(name="g", argv=("true",)),), ("out/j.xml", "none.xml")
    claims = run(script, gates=gates, reports=files).claims[NAME]
    assert claims.outcome is Outcome.DONE
    assert [(one.form, one.unread) for one in claims.reports] == [
        ("junit", ""),
        ("unknown", "no gate has written it as a regular file"),
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
