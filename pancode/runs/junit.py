"""Writes the end of a run, its gates and its reports as JUnit XML."""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

from pancode.runs.answers import GateResultShape, RunDetail


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
