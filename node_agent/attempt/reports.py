"""Reads the reports of gates, as JUnit or SARIF, and makes of them what the receipt says. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote
from xml.parsers import expat

from node_agent.wire.model import MOST
from node_agent.wire.receipt import MOST_RESULTS, GateReport, ReportForm, ReportLevel, ReportResult


class UnreadableReportError(Exception):
    """The reason why a report cannot be read, in words for a person."""


@dataclass(frozen=True, slots=True)
class ReadResult:
    """One result as the file has it. An empty text: not known."""

    level: ReportLevel
    rule: str
    file: str
    line: int | None
    text: str


@dataclass(frozen=True, slots=True)
class ReadReport:
    """The content of one report file."""

    tool: str
    results: list[ReadResult]


def line_number(value: object) -> int | None:
    """Return the line number if it is at least 1; None for any other value."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST
    return value if isinstance(value, int) and whole else None


MOST_DEPTH = 64
_JUNIT_LEVELS: dict[str, ReportLevel] = {"failure": "failed", "error": "error", "skipped": "skipped"}
_MOST_TEXT = 2_000


def read_junit(data: bytes) -> ReadReport:
    """Read a JUnit file. UnreadableReportError: no XML, with a document type, too deep, or of another
    form."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.begin
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _no_type
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as wrong:  # LookupError: an unknown encoding
        raise UnreadableReportError(f"it is not XML: {str(wrong)[:200]}") from wrong
    return ReadReport(reader.tool, reader.results)


def _no_type(*_declared: object) -> None:
    """Refuse a document type: it could declare entities that expand without end."""
    raise UnreadableReportError("it declares a document type, which may hold entities")


class _Reader:
    """Builds up the tests read so far, and the current test."""

    def __init__(self) -> None:
        self.tool = ""
        self.results: list[ReadResult] = []
        self._depth = 0
        self._case: Mapping[str, str] | None = None
        self._level: ReportLevel = "passed"
        self._words = ""
        self._reads_text = False

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise UnreadableReportError("it is nested too deeply")
        if self._depth == 1 and name not in ("testsuites", "testsuite"):
            raise UnreadableReportError("it is XML, and not JUnit: it has no testsuites")
        if name == "testsuite" and not self.tool:
            self.tool = attributes.get("name", "")
        if name == "testcase":
            self._case, self._level, self._words = attributes, "passed", ""
        elif self._case is not None and name in _JUNIT_LEVELS and self._level == "passed":
            self._level, self._words = _JUNIT_LEVELS[name], attributes.get("message", "")
            self._reads_text = not self._words

    def text(self, words: str) -> None:
        if self._reads_text and len(self._words) < _MOST_TEXT:
            self._words += words

    def end(self, name: str) -> None:
        self._depth -= 1
        if name in _JUNIT_LEVELS:
            self._reads_text = False
        if name == "testcase" and self._case is not None:
            case = self._case
            rule = ".".join(filter(None, (case.get("classname", ""), case.get("name", ""))))
            self.results.append(
                ReadResult(
                    self._level, rule, case.get("file", ""), line_number(case.get("line", "")), self._words
                )
            )
            self._case = None


_SARIF_LEVELS = ("error", "warning", "note", "none")
MOST_TOOLS = 8
"""The most names of tools that are given where a report merges several."""
_DEFAULT: ReportLevel = "warning"
"""The level that the SARIF standard gives to a result without one."""


def read_sarif(data: bytes) -> ReadReport:
    """Read a SARIF file. UnreadableReportError where it is no JSON, too deep, or of another form."""
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
    """Yield the results of a run; suppressed results are left out."""
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
        if level in _SARIF_LEVELS:
            yield _text(rule.get("id")), cast("ReportLevel", level)


def _level(one: dict[str, Any], default: ReportLevel) -> ReportLevel:
    if one.get("kind", "fail") != "fail":
        return "none"
    level = one.get("level")
    return cast("ReportLevel", level) if level in _SARIF_LEVELS else default


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


MOST_REPORT = 2 << 20
"""The most bytes of a report file; reading takes some twenty times as much memory."""
MOST_CHARS = 48_000
"""The most characters of the results of all files of one attempt."""
_WORST: tuple[ReportLevel, ...] = ("error", "failed", "warning", "note", "none")
"""The levels whose results are listed one by one."""


def gate_reports(
    files: Iterable[str], found: Mapping[str, bytes], top: str, clean: Callable[[str], str], trouble: str = ""
) -> list[GateReport]:
    """Return one report for each file. `top`: the checkout's path. `clean`: takes secrets out of a text.

    `trouble`: why no file was found.
    """
    left, reports = MOST_CHARS, list[GateReport]()
    for name in files:
        report = _report(name, _Source(found.get(name), top, trouble), clean, left)
        left -= sum(map(_size, report.results))
        reports.append(report)
    return reports


@dataclass(frozen=True, slots=True)
class _Source:
    data: bytes | None
    top: str
    trouble: str


def _report(name: str, source: _Source, clean: Callable[[str], str], left: int) -> GateReport:
    try:
        form, read = _read(source)
    except UnreadableReportError as why:
        return GateReport(file=name, form="unknown", counts={}, unread=clean(str(why)))
    counts = Counter(one.level for one in read.results)
    worst = sorted(
        (one for one in read.results if one.level in _WORST), key=lambda one: _WORST.index(one.level)
    )[:MOST_RESULTS]
    results = list[ReportResult]()
    for one in worst:
        file = unquote(one.file.removeprefix("file://")) if one.file.startswith("file://") else one.file
        file = file.removeprefix(f"{source.top.rstrip('/')}/")
        text = " ".join(one.text[:2_000].split())
        result = ReportResult(
            level=one.level, rule=clean(one.rule), file=clean(file), line=one.line, text=clean(text)
        )
        left -= _size(result)
        if left < 0:
            break
        results.append(result)
    tool = clean(read.tool)
    return GateReport(
        file=name,
        form=form,
        tool=tool,
        counts={str(level): number for level, number in counts.items()},
        results=tuple(results),
    )


def _read(source: _Source) -> tuple[ReportForm, ReadReport]:
    data = source.data
    if data is None:
        raise UnreadableReportError(source.trouble or "no gate has written it as a plain file")
    if len(data) > MOST_REPORT:
        raise UnreadableReportError(f"it is larger than {MOST_REPORT >> 20} MB")
    begin = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if begin == b"{":
        return "sarif", read_sarif(data)
    if begin == b"<":
        return "junit", read_junit(data)
    raise UnreadableReportError("it is neither JUnit (XML) nor SARIF (JSON)")


def _size(result: ReportResult) -> int:
    return len(result.rule) + len(result.file) + len(result.text)
