"""Reads SARIF 2.1.0 from an unknown author. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from node_agent.attempt.readreport import ReadReport, ReadResult, UnreadableReportError, line_number
from node_agent.wire.receipt import ReportLevel

_LEVELS = ("error", "warning", "note", "none")
MOST_TOOLS = 8
"""How many tools are named at most, where a report has merged more."""
_DEFAULT: ReportLevel = "warning"
"""Of a result that names no level, by the standard."""


def read_sarif(data: bytes) -> ReadReport:
    """UnreadableReportError where it is no JSON, too deep, or of another form."""
    try:
        whole = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as wrong:
        deep = isinstance(wrong, RecursionError)
        why = "it is nested too deeply" if deep else f"it is not JSON: {str(wrong)[:200]}"
        raise UnreadableReportError(why) from wrong
    runs = whole.get("runs")
    if not isinstance(runs, list):
        raise UnreadableReportError("it is JSON, and not SARIF: it has no list `runs`")
    tools, results = dict[str, None](), list[ReadResult]()
    for run in map(_object, runs):
        if len(tools) < MOST_TOOLS and (name := _tool(run)):
            tools[name] = None
        results += _results(run)
    return ReadReport(", ".join(tools), results)


def _tool(run: dict[str, Any]) -> str:
    driver = _object(_object(run.get("tool")).get("driver"))
    return " ".join(filter(None, (_text(driver.get("name")), _text(driver.get("version")))))


def _results(run: dict[str, Any]) -> Iterator[ReadResult]:
    """A suppressed result does not count."""
    levels = dict(_levels(run))
    for one in map(_object, _list(run.get("results"))):
        if _list(one.get("suppressions")):
            continue
        rule = _text(one.get("ruleId")) or _text(_object(one.get("rule")).get("id"))
        text = _text(_object(one.get("message")).get("text"))
        yield ReadResult(_level(one, levels.get(rule, _DEFAULT)), rule, *_place(one), text)


def _levels(run: dict[str, Any]) -> Iterator[tuple[str, ReportLevel]]:
    """The default level of each rule that names one."""
    driver = _object(_object(run.get("tool")).get("driver"))
    for rule in map(_object, _list(driver.get("rules"))):
        level = _object(rule.get("defaultConfiguration")).get("level")
        if level in _LEVELS:
            yield _text(rule.get("id")), cast("ReportLevel", level)


def _level(one: dict[str, Any], default: ReportLevel) -> ReportLevel:
    if one.get("kind", "fail") != "fail":
        return "none"
    level = one.get("level")
    return cast("ReportLevel", level) if level in _LEVELS else default


def _place(one: dict[str, Any]) -> tuple[str, int | None]:
    places = _list(one.get("locations"))
    physical = _object(_object(places[0] if places else None).get("physicalLocation"))
    file = _text(_object(physical.get("artifactLocation")).get("uri"))
    return file, line_number(_object(physical.get("region")).get("startLine"))


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
