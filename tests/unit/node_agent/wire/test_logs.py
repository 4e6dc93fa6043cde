"""The log: JSON lines, plain ones in a terminal, levels by PANCODE_LOG."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from node_agent.wire import logs
from node_agent.wire.identity import AttemptId
from node_agent.wire.logs import JobLine, JobStage, JsonFormatter, PlainFormatter, levels_of

LINE = JobLine.of(JobStage.ENDED, AttemptId(run="r-abcdefgh", attempt=2, lease=7), "n1", 812, "wall_limit")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Handlers and levels of this process are its own."""
    root, jobs = logging.getLogger(), logging.getLogger("pancode.orders")
    before = root.handlers[:], root.level, jobs.level
    yield
    root.handlers[:], level, orders_level = before
    root.setLevel(level)
    jobs.setLevel(orders_level)


def set_up(levels: str, stream: io.StringIO) -> None:
    logging.getLogger().handlers.clear()  # pytest's own, for this test
    logs.set_up(levels, stream)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_of_a_job_is_one_json_object_with_all_that_one_searches_for() -> None:
    out = io.StringIO()
    set_up("", out)
    LINE.write()
    entry = json.loads(out.getvalue())
    assert entry.pop("time").endswith("Z") and entry.pop("message").endswith("after 812 ms: wall_limit")
    assert entry == {
        **{"level": "info", "logger": "pancode.orders", "stage": "ended", "run": "r-abcdefgh", "attempt": 2},
        **{"fence": 7, "node": "n1", "duration_ms": 812, "detail": "wall_limit"},
    }


def test_a_terminal_gets_plain_lines() -> None:
    out = Terminal()
    set_up("", out)
    LINE.write()
    assert out.getvalue().endswith(
        "Z INFO pancode.orders: r-abcdefgh.2.7 ended on n1 after 812 ms: wall_limit\n"
    )


def test_a_message_cannot_make_a_second_line_and_an_exception_is_one_field() -> None:
    record = logging.LogRecord("pancode.x", logging.ERROR, "", 1, "first\n%s", ('{"level": "info"}',), None)
    assert "\n" not in JsonFormatter().format(record)
    try:
        raise ValueError("bad\nvalue")
    except ValueError:
        record.exc_info = sys.exc_info()
    text = JsonFormatter().format(record)
    assert "\n" not in text and json.loads(text)["exception"].endswith("ValueError: bad\nvalue")
    assert "Traceback" in PlainFormatter().format(record)


@pytest.mark.parametrize(
    ("text", "levels", "wrong"),
    [
        ("", {"*": logging.INFO}, []),
        ("DEBUG", {"*": logging.DEBUG}, []),
        (
            "warning, pancode.orders=info",
            {"*": logging.WARNING, "pancode.orders": logging.INFO},
            [],
        ),
        ("loud,pancode.orders=", {"*": logging.INFO}, ["loud", "pancode.orders="]),
    ],
)
def test_levels(text: str, levels: dict[str, int], wrong: list[str]) -> None:
    assert levels_of(text) == (levels, wrong)


def test_the_levels_hold_and_a_wrong_word_is_told() -> None:
    out = io.StringIO()
    set_up("error,pancode.orders=info,loud", out)
    logging.getLogger("pancode.links").warning("not shown")
    LINE.write()
    assert [json.loads(line)["logger"] for line in out.getvalue().splitlines()] == ["pancode.orders"]
    told = io.StringIO()
    set_up("loud", told)
    assert logs.VARIABLE in told.getvalue() and "debug, info, warning, error" in told.getvalue()
