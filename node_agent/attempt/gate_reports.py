"""Reads the JUnit reports of gates, and converts them for the receipt. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from xml.parsers import expat

from node_agent.wire.model import MOST
from node_agent.wire.receipt import MOST_RESULTS, GateReport, ReportLevel, ReportResult


class UnreadableReportError(Exception):
    """The reason why a report cannot be read, as text for a user."""


@dataclass(frozen=True, slots=True)
class ReadResult:
    """One test result as the file contains it. An empty text means unknown."""

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


def line_number(text: str) -> int | None:
    """Return the text as a line number if it is an integer of at least 1; otherwise None."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
    return number if 0 < number <= MOST else None


MOST_DEPTH = 64
_JUNIT_LEVELS: dict[str, ReportLevel] = {"failure": "failed", "error": "error", "skipped": "skipped"}
_MOST_TEXT = 2_000


def read_junit(data: bytes) -> ReadReport:
    """Read a JUnit file. Raises UnreadableReportError: not XML, not JUnit, too deep or a document type."""
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
    """Refuse a document type: it could declare entities that expand endlessly."""
    raise UnreadableReportError(
        "it declares a document type, which is refused because it may declare entities"
    )


class _Reader:
    """Collects the tests read so far, and the current test."""

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
            raise UnreadableReportError("it is XML, but not JUnit: its root is not testsuites")
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


MOST_REPORT = 2 << 20
"""The maximum size in bytes of a report file; reading takes some twenty times as much memory."""
MOST_CHARS = 48_000
"""The maximum number of characters in the results of all files of one attempt."""
_WORST: tuple[ReportLevel, ...] = ("error", "failed")
"""The levels whose results are listed individually."""


def gate_reports(
    files: Iterable[str], found: Mapping[str, bytes], top: str, clean: Callable[[str], str], trouble: str = ""
) -> list[GateReport]:
    """Return one report for each file. `top`: the checkout's path. `clean`: removes secrets from a text.
    `trouble`: the reason why the files could not be read."""
    left, reports = MOST_CHARS, list[GateReport]()
    for name in files:
        report = _report(name, _Source(found.get(name), top, trouble), clean, left)
        left -= sum(map(_measure_size, report.results))
        reports.append(report)
    return reports


@dataclass(frozen=True, slots=True)
class _Source:
    data: bytes | None
    top: str
    trouble: str


def _report(name: str, source: _Source, clean: Callable[[str], str], left: int) -> GateReport:
    try:
        read = _read(source)
    except UnreadableReportError as why:
        return GateReport(file=name, form="unknown", counts={}, unread=clean(str(why)))
    counts = Counter(one.level for one in read.results)
    worst = sorted(
        (one for one in read.results if one.level in _WORST), key=lambda one: _WORST.index(one.level)
    )[:MOST_RESULTS]
    results = list[ReportResult]()
    for one in worst:
        file = one.file.removeprefix(f"{source.top.rstrip('/')}/")
        text = " ".join(one.text[:2_000].split())
        result = ReportResult(
            level=one.level, rule=clean(one.rule), file=clean(file), line=one.line, text=clean(text)
        )
        left -= _measure_size(result)
        if left < 0:
            break
        results.append(result)
    tool = clean(read.tool)
    return GateReport(
        file=name,
        form="junit",
        tool=tool,
        counts={str(level): number for level, number in counts.items()},
        results=tuple(results),
    )


def _read(source: _Source) -> ReadReport:
    data = source.data
    if data is None:
        raise UnreadableReportError(source.trouble or "no gate has written it as a regular file")
    if len(data) > MOST_REPORT:
        raise UnreadableReportError(f"it is larger than {MOST_REPORT >> 20} MB")
    begin = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if begin != b"<":
        raise UnreadableReportError("it is not JUnit (XML)")
    return read_junit(data)


def _measure_size(result: ReportResult) -> int:
    return len(result.rule) + len(result.file) + len(result.text)
