"""How a page fits into a width, is filtered and wrapped; how times and names are read."""

from __future__ import annotations

import pytest
from rich.console import Console
from rich.text import Text

from pancode.interfaces.tui.app import path_line, title_line, top_line, trouble_lines
from pancode.interfaces.tui.bars import render_block
from pancode.interfaces.tui.page import (
    Page,
    PageMoment,
    PagePlace,
    PageRow,
    filter_rows,
    format_span,
    laid_out,
    make_fact_line,
    make_line,
    sort_rows,
    text_of,
)
from pancode.interfaces.tui.views import find_resource
from pancode.kernel.errors import UnavailableError

ROWS = (
    PageRow("a", "run", ("r-1", "running", "builder", "a long task that has many words")),
    PageRow("b", "run", ("r-2", "done", "a-very-long-agent", "short")),
)
TABLE = Page(head=("RUN", "STATE", "AGENT", "TASK"), rows=ROWS, spare=("AGENT",), cut="TASK", empty="none")


@pytest.mark.parametrize(
    ("columns", "head", "first"),
    [
        (
            80,
            "RUN  STATE      AGENT              TASK",
            "r-1  ◐ running  builder            a long task that has many words",
        ),
        (
            62,
            "RUN  STATE      AGENT              TASK",
            "r-1  ◐ running  builder            a long task that has man...",
        ),
        (52, "RUN  STATE      TASK", "r-1  ◐ running  a long task that has many words"),
        (26, "RUN  STATE      TASK", "r-1  ◐ running  a long ..."),
    ],
)
def test_a_table_fits(columns: int, head: str, first: str) -> None:
    heads, widths, rows = laid_out(TABLE, columns)
    told = ["".join(f"{text:<{width}}" for (text, _), width in zip(cells, widths, strict=True)).rstrip()
            for cells in (heads, rows[0])]  # fmt: skip
    assert told == [head, first] and sum(widths) <= columns
    assert rows[1][1] == ("✓ done", "green"), "a state has its colour"


def test_a_group_has_a_hairline_with_its_name_and_number() -> None:
    heading = PageRow("Now", "heading", ("", "Running", "", "2"), {"style": "bold"})
    page = Page(
        head=("", "TASK", "NODE", "COST"), rows=(heading, PageRow("a", "run", ("running", "x", "n1", "$1")))
    )
    _, widths, (told, row) = laid_out(page, 40)
    line = "".join(text for text, _ in told)
    assert line.startswith("─ Running ─") and line.endswith(" 2") and len(line) == sum(widths)
    assert row[0] == ("◐", "") and sort_rows(page, "COST", down=False) is page
    assert [one.key for one in filter_rows(page, "n1").rows] == ["a"]


def test_a_filter_takes_any_case_and_any_cell() -> None:
    assert [row.key for row in filter_rows(TABLE, "LONG-AGENT").rows] == ["b"]
    named = Page(head=("TASK",), rows=(PageRow("r-1", "run", ("a",)), PageRow("r-2", "run", ("b",))))
    assert [row.key for row in filter_rows(named, "r-2").rows] == ["r-2"]
    assert filter_rows(TABLE, "zzz").empty == "nothing has 'zzz'"
    assert filter_rows(TABLE, "") is TABLE
    lines = Page(lines=(make_line("one"), make_line("two")))
    assert [text_of(one) for one in filter_rows(lines, "TW").lines] == ["two"]


@pytest.mark.parametrize(
    ("cells", "up"),
    [
        (("2 min", "40 s", "-", "3 h", "90 s"), "40 s, 90 s, 2 min, 3 h, -"),
        (("$10.00", "unknown", "$9.50", ""), "$9.50, $10.00, unknown, "),
        (("b", "A", "c"), "A, b, c"),
        (("9%", "80%", "1.5 GB"), "9%, 80%, 1.5 GB"),
    ],
)
def test_rows_are_ordered_by_what_a_column_says(cells: tuple[str, ...], up: str) -> None:
    page = Page(
        head=("N", "IT"), rows=tuple(PageRow(c, "run", ("x", c)) for c in cells), cut="IT", spare=("IT",)
    )
    found = sort_rows(page, "IT", down=False)
    assert ", ".join(row.cells[1] for row in found.rows) == up
    assert found.head == ("N", "IT ▲") and (found.cut, found.spare) == ("IT ▲", ("IT ▲",))
    told = [row.cells[1] for row in sort_rows(page, "IT", down=True).rows if row.cells[1] not in ("", "-")]
    assert told[::-1] == [cell for cell in up.split(", ") if cell not in ("", "-")]
    assert sort_rows(page, "GONE", down=False) == page


@pytest.mark.parametrize(
    ("told", "columns", "parts"),
    [
        (make_line("short"), 40, ["short"]),
        (make_line("one two three four five six"), 20, ["one two three four", "five six"]),
        (make_line("x" * 30), 20, ["x" * 20, "x" * 10]),
        (make_fact_line("task", "one two three"), 20, ["task       one two", "           three"]),
        (make_line("\u4e2d" * 15), 20, ["\u4e2d" * 10, "\u4e2d" * 5]),
        (make_line("[red]boo[/red]"), 40, ["[red]boo[/red]"]),
    ],
)
def test_long_lines_are_wrapped(told: tuple[tuple[str, str], ...], columns: int, parts: list[str]) -> None:
    console = Console(width=columns)
    with console.capture() as got:
        console.print(render_block([told]))
    assert [line.rstrip() for line in got.get().splitlines()] == parts


def test_a_wrapped_line_keeps_its_colours() -> None:
    (text,) = render_block([(("one two three ", "red"), ("four five six", "green"))]).renderables
    assert isinstance(text, Text)
    assert [(one.start, one.end, one.style) for one in text.spans] == [(0, 14, "red"), (14, 27, "green")]


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0 s"), (65, "65 s"), (150, "2 min"), (8_000, "2 h"), (300_000, "3 d")]
)
def test_spans(seconds: float, told: str) -> None:
    assert format_span(seconds) == told


def test_times_are_short_today_and_dated_else() -> None:
    moment = PageMoment.of(1_790_000_000_000)  # 2026-09-21 14:13:20 UTC
    assert moment.at("2026-09-21T08:00:00.000Z") == "08:00:00"
    assert moment.at("2026-09-20T08:00:00.000Z") == "09-20 08:00"
    assert (moment.at(None), moment.ago(None), moment.between(None, None)) == ("-", "-", "-")
    assert moment.ago("2026-09-22T08:00:00.000Z") == "0 s", "another node's clock may go before"
    assert moment.between("2026-09-21T08:00:00.000Z", "2026-09-21T08:03:00.000Z") == "3 min"


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        *(("runs", "runs"), (":RUNS ", "runs"), ("no", "nodes"), ("machines", "nodes")),
        *(("q", "quit"), ("money", "budget"), ("run", "runs"), ("", None), ("zzz", None)),
    ],
)
def test_resources_by_name_and_beginning(typed: str, found: str | None) -> None:
    assert find_resource(typed) == found


def test_a_page_says_of_when_it_is() -> None:
    moment = PageMoment.of(1_790_000_000_000)
    told = text_of(title_line("runs", moment, 3, 60))
    assert told.endswith("as of 14:13:20") and "not heard" not in told
    late = title_line("runs", moment, 40, 60)
    assert text_of(late).endswith("as of 14:13:20, not heard for 40 s") and late[-1][1] == "red"
    assert text_of(title_line("runs", None, 0, 60)).endswith("asking ...")
    assert len(text_of(title_line("x" * 100, moment, 40, 60))) <= 60


def test_an_unreachable_coordinator_is_no_idle_fleet() -> None:
    error = UnavailableError("no coordinator is running", why="nobody listens", fix="pancode fleet up")
    told = text_of(top_line({}, error, 40))
    assert "COORDINATOR NOT REACHED for 40 s: nobody listens" in told
    assert [text_of(one) for one in trouble_lines(error)][-1] == "fix: pancode fleet up"
    assert path_line([PagePlace("runs"), PagePlace("run", "r-1")], "x") == "runs > run r-1  /x"
