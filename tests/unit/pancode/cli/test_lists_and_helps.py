"""Lists fit a terminal of 80 columns, helps end their sentences, and an output is shown once."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import click
import pytest

from pancode.cli.account.budget import _books
from pancode.cli.account.cost import _lines
from pancode.cli.face import Face
from pancode.cli.main import cli
from pancode.cli.notify import group as notify
from pancode.cli.output.transcript import LiveTranscript
from pancode.cli.parsing.lazy import Group
from pancode.cli.runs import logs
from pancode.cli.runs.dispatch import _was_shown
from pancode.client import Client
from pancode.errors import UsageError
from tests.unit.pancode.cli.test_terminal import Terminal


def narrow(patch: pytest.MonkeyPatch) -> None:
    """Standard output is a terminal of 80 columns. Called in the test: pytest puts its own there before."""
    patch.setattr(sys, "stdout", Terminal())
    patch.setenv("COLUMNS", "80")
    patch.setenv("TERM", "xterm")
    patch.delenv("NO_COLOR", raising=False)


def scope(name: str) -> dict[str, Any]:
    money = dict.fromkeys(("ceiling_usd", "spent_usd", "held_usd", "remaining_usd"), "123.45")
    more = {
        "tokens": 5e6,
        "held_tokens": 1e5,
        "ceiling_tokens": 9e6,
        "agent_minutes": 60.5,
        "held_minutes": 1,
    }
    rest = {
        "unknown_runs": 0,
        "disputed_usd": "0",
        "ceiling_minutes": 600,
        "over": True,
        "origin": "/home/ana/.pancode/pancode.yaml:12",
    }
    return {"scope": name, **money, **more, **rest}


def test_the_books_and_the_costs_are_a_line_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch)
    names = [f"agent:{name}" for name in ("builder", "scout", "reviewer", "tester", "planner", "merger")]
    told = _books({"scopes": [scope(n) for n in names], "runs": 3, "estimate_next_usd": "0.75", "notes": []})
    assert len(told.splitlines()) == len(names) + 3 and "5.1 M of 9.0 M" in told, told
    figures: dict[str, Any] = {
        "runs": 1,
        "usd": "0.25",
        "unknown_runs": 1,
        "disputed_usd": "0",
        "tokens": 1e6,
        "agent_minutes": 12.5,
    }
    rows = [
        {"key": f"r-{n:06}", "about": "rewrite the whole of the parser " * 3, **figures} for n in range(15)
    ]
    cost: dict[str, Any] = {
        "by": "run",
        "rows": rows,
        "total": {**figures, "about": ""},
        "left_out": 0,
        "since": None,
    }
    told = _lines({**cost, "total": {**cost["total"], "unknown_runs": 0}}, Face(as_json=False))
    assert len([line for line in told.splitlines() if line.startswith("r-")]) == 15
    assert len(told.splitlines()) <= 18, told


def groups(group: Group, path: str = "pancode") -> list[tuple[str, Group]]:
    found = [(path, group)]
    for name in group.list_commands(click.Context(group)):
        inner = group.get_command(click.Context(group), name)
        found += groups(inner, f"{path} {name}") if isinstance(inner, Group) else []
    return found


def test_no_summary_stops_in_the_middle_of_a_sentence() -> None:
    assert isinstance(cli, Group)
    cut = [
        f"{path} {name}"
        for path, one in groups(cli)
        for name, line in one.lines()
        if re.search(r"\w\.\.\.$", line)
    ]
    assert not cut
    assert len(groups(cli)) > 15


def test_what_was_shown_while_it_went_on_is_not_shown_again(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch)
    shown: list[str] = []
    live = LiveTranscript(Client(Any, starts=False), "r-1", "shell", shown.append)  # type: ignore[arg-type]
    live._story.write("1.1", b"one\nfin\n")
    assert shown == ["one", "fin"]
    assert _was_shown("one\nfin\n", {"shown": live.shown})
    assert not _was_shown("another answer", {"shown": live.shown})
    assert not _was_shown("one\nfin\n", {}), "nothing was shown: it was quick"


def test_a_channel_is_not_ok_before_it_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    channel = {"channel": "phone", "trouble": "", "kinds": ["waits"], "waiting": 0, "last_sent_at": None}

    class Told(Face):
        def client(self, **_: Any) -> Any:
            answer = {"channels": [channel], "unknown_channels": []}
            return type("C", (), {"get": lambda self, path: answer})()

        def show(self, data: Any, words: Any) -> None:
            said.append(words())

    notify.ls(Told(as_json=False))
    assert "not tried yet" in said[0] and "ok" not in said[0].split()


def test_an_address_or_token_has_no_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("just some words\n"))
    with pytest.raises(UsageError, match="without blanks"):
        notify._value(Face(as_json=True), "phone")


def test_runs_follow_is_the_log_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    told = type("C", (), {"get": lambda self, path: {"run": "r-1", "runtime": "shell"}})()
    monkeypatch.setattr(Face, "client", lambda self, **_: told)

    def follow(face: Face, client: object, what: tuple[str, str, int], sinks: object) -> int:
        asked.append(what[:2])
        return 10

    monkeypatch.setattr(logs, "_follow", follow)
    assert logs.follow("last", face=Face(as_json=False)) == 10 and asked == [("r-1", "")]
    main = cli.get_command(click.Context(cli), "runs")
    assert isinstance(main, Group) and main.get_command(click.Context(main), "follow") is not None
    listed = main.get_command(click.Context(main), "ls")
    assert listed is not None and any("-n" in one.opts for one in listed.params)
