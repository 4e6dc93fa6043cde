"""Reads JUnit XML from an unknown author, piece by piece and without entities. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from xml.parsers import expat

from node_agent.attempt.readreport import ReadReport, ReadResult, UnreadableReportError, line_number
from node_agent.wire.receipt import ReportLevel

MOST_DEPTH = 64
_LEVELS: dict[str, ReportLevel] = {"failure": "failed", "error": "error", "skipped": "skipped"}
_MOST_TEXT = 2_000


def read_junit(data: bytes) -> ReadReport:
    """UnreadableReportError where it is no XML, has a document type, is too deep, or of another form."""
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
    """A document type declares entities, which may grow without an end."""
    raise UnreadableReportError("it declares a document type, which may hold entities")


class _Reader:
    """The tests so far, and the current one."""

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
        elif self._case is not None and name in _LEVELS and self._level == "passed":
            self._level, self._words = _LEVELS[name], attributes.get("message", "")
            self._reads_text = not self._words

    def text(self, words: str) -> None:
        if self._reads_text and len(self._words) < _MOST_TEXT:
            self._words += words

    def end(self, name: str) -> None:
        self._depth -= 1
        if name in _LEVELS:
            self._reads_text = False
        if name == "testcase" and self._case is not None:
            self._take(self._case)
            self._case = None

    def _take(self, case: Mapping[str, str]) -> None:
        rule = ".".join(filter(None, (case.get("classname", ""), case.get("name", ""))))
        place = (case.get("file", ""), line_number(case.get("line", "")))
        self.results.append(ReadResult(self._level, rule, *place, self._words))
