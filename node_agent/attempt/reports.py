"""Turns the reports of gates, JUnit and SARIF, into counts and the worst results. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from node_agent.attempt.junit import read_junit
from node_agent.attempt.readreport import ReadReport, ReadResult, UnreadableReportError
from node_agent.attempt.sarif import read_sarif
from node_agent.wire.receipt import MOST_RESULTS, GateReport, ReportForm, ReportLevel, ReportResult

MOST_BYTES = 2 << 20
"""Of one file: a reader takes some twenty times as much memory."""
MOST_CHARS = 48_000
"""Of the results of all files of one attempt."""
_WORST: tuple[ReportLevel, ...] = ("error", "failed", "warning", "note", "none")
"""The levels whose results are listed one by one."""


def gate_reports(
    files: Iterable[str], found: Mapping[str, bytes], top: str, clean: Callable[[str], str], trouble: str = ""
) -> list[GateReport]:
    """One for each file. `top`: the checkout, as programs name it. `clean`: takes secrets out of a text.

    `trouble`: why none was found.
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
    worst = sorted((one for one in read.results if one.level in _WORST), key=_rank)[:MOST_RESULTS]
    results = list[ReportResult]()
    for one in worst:
        result = _cleaned(one, source.top, clean)
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
    if len(data) > MOST_BYTES:
        raise UnreadableReportError(f"it is larger than {MOST_BYTES >> 20} MB")
    begin = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if begin == b"{":
        return "sarif", read_sarif(data)
    if begin == b"<":
        return "junit", read_junit(data)
    raise UnreadableReportError("it is neither JUnit (XML) nor SARIF (JSON)")


def _rank(one: ReadResult) -> int:
    return _WORST.index(one.level)


def _size(result: ReportResult) -> int:
    return len(result.rule) + len(result.file) + len(result.text)


def _cleaned(one: ReadResult, top: str, clean: Callable[[str], str]) -> ReportResult:
    file = unquote(one.file.removeprefix("file://")) if one.file.startswith("file://") else one.file
    file = file.removeprefix(f"{top.rstrip('/')}/")
    text = " ".join(one.text[:2_000].split())
    return ReportResult(
        level=one.level, rule=clean(one.rule), file=clean(file), line=one.line, text=clean(text)
    )
