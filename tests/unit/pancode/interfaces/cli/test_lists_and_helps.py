"""Lists fit a terminal of 80 columns, helps end their sentences, and an output is shown once."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from typing import Any

import click
import pytest

from pancode.budget.commands.agent_records import _WORKERS
from pancode.budget.commands.budget import _format_books
from pancode.budget.commands.cost import _format_lines
from pancode.interfaces.cli.commands import Group
from pancode.interfaces.cli.follow import LiveTranscript, gate_lines
from pancode.interfaces.cli.main import cli, run
from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.terminal import Columns, format_rows
from pancode.interfaces.cli.tree import TREE
from pancode.interfaces.client.client import Client
from pancode.kernel.declared import to_json
from pancode.kernel.errors import UsageError
from pancode.notices import commands as notify
from pancode.reports.answers import BriefShape
from pancode.reports.commands.brief import _text
from pancode.runs.commands import logs
from pancode.runs.commands.dispatch_requests import _was_shown
from pancode.runs.commands.options import HEADINGS
from tests.fakes.api import FakeApi
from tests.unit.pancode.interfaces.cli.test_terminal import Terminal


def narrow(patch: pytest.MonkeyPatch) -> None:
    """Standard output is a terminal of 80 columns. Called in the test: pytest puts its own there before."""
    patch.setattr(sys, "stdout", Terminal())
    patch.setenv("COLUMNS", "80")
    patch.setenv("TERM", "xterm")
    patch.delenv("NO_COLOR", raising=False)


def scope(name: str) -> Any:
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
    told = _format_books(
        {"scopes": [scope(n) for n in names], "runs": 3, "estimate_next_usd": "0.75", "notes": []}
    )
    assert len(told.splitlines()) == len(names) + 3 and "5.1 M of 9.0 M" in told, told
    figures: Any = {
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
    cost: Any = {
        "by": "run",
        "rows": rows,
        "total": {**figures, "about": ""},
        "left_out": 0,
        "since": None,
    }
    told = _format_lines(cost | {"total": {**cost["total"], "unknown_runs": 0}}, Face(as_json=False))
    assert len([line for line in told.splitlines() if line.startswith("r-")]) == 15
    assert len(told.splitlines()) <= 18, told
    nobody = {**rows[0], "usd": "0", "key": "r-nobody"}
    line = next(line for line in _format_lines(cost | {"rows": [nobody]}, Face(as_json=False)).splitlines()
                if line.startswith("r-nobody"))  # fmt: skip
    assert "unknown" in line and "$0" not in line


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
    ended: Any = {"shown": live.shown}
    assert _was_shown("one\nfin\n", ended)
    assert not _was_shown("another answer", ended)
    assert not _was_shown("one\nfin\n", ended | {"shown": ""}), "nothing was shown: it was quick"


def test_a_channel_is_not_ok_before_it_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    channel = {"channel": "phone", "trouble": "", "kinds": ["waits"], "waiting": 0, "last_sent_at": None}

    monkeypatch.setattr(Face, "show", lambda face, data, words: said.append(words()))
    FakeApi({"GET /v1/notify": {"channels": [channel], "unknown_channels": []}}).serves(monkeypatch)
    notify.notify(face=Face(as_json=False))
    assert "not tried yet" in said[0] and "ok" not in said[0].split()


def test_an_address_or_token_has_no_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("just some words\n"))
    with pytest.raises(UsageError, match="without spaces"):
        notify.secret("phone", face=Face(as_json=True))


def test_runs_follow_is_the_log_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    FakeApi({"GET /v1/runs/last/brief": {"run": "r-1", "runtime": "shell"}}).serves(monkeypatch)

    def follow(face: Face, client: object, run: str, read: object, sinks: object) -> int:
        asked.append(run)
        return 10

    monkeypatch.setattr(logs, "_follow", follow)
    assert run(["runs", "follow", "last"]) == 10 and asked == ["r-1"]


def helped(words: list[str], capsys: pytest.CaptureFixture[str], how: str = "--help") -> str:
    assert run([*words, how]) == 0
    return capsys.readouterr().out


def test_the_options_of_a_dispatch_have_headings(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["dispatch"], ["race"], ["schedule", "add"]):
        told = helped(words, capsys)
        assert "--mode " not in told and "--verify CMD" in told and f"{' '.join(words)} --help-all" in told
        told = helped(words, capsys, "--help-all")
        heads = re.findall(r"^([A-Z][a-z ]+):$", told, re.MULTILINE)
        terms = ["Who works", "Where", "Limits", "Gates and landing"]
        assert heads[:6] == ["Arguments", *terms, "Options"], words
        assert told.count("  --verify CMD") == told.count("--agent A ") == 1
    named = {name for names in HEADINGS.values() for name in names}
    known = {
        param.name
        for word in ("dispatch", "workflow batch", "workflow race")
        for param in command(word).params
    }
    assert named <= known, named - known


def test_the_help_of_a_command_has_its_arguments_before_its_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = helped(["runs", "show"], capsys)
    assert re.search(r"^Arguments:\n  \[RUN\] .*\n\nOptions:\n  -o, --output, --json ", told, re.MULTILINE), (
        told
    )


def shown(answers: dict[str, Any], patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """A function that runs a command, and returns its JSON."""
    looked: dict[str, Any] = {"POST /v1/brief/looked": {}}  # what `brief` tells after it was shown
    FakeApi(looked | {f"GET {path}": answer for path, answer in answers.items()}).serves(patch)

    def ran(*words: str) -> Any:
        assert run([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return ran


def test_all_workers_are_shown_where_no_number_is_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [{"agent": f"a{number}"} for number in range(60)]
    ran = shown({"/v1/workers": {"workers": many}}, monkeypatch, capsys)
    assert ran("workers") == {"workers": many}
    assert ran("workers", "-n", "2") == {"workers": many[:2]}
    assert ran("workers", "--agent", "a7") == {"workers": [many[7]]}


def test_all_records_are_asked_for_where_no_number_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeApi({"GET /v1/*": {"records": []}}).serves(monkeypatch)
    for words in (["workers", "--by", "kind"], ["workers", "--by", "kind", "-n", "3"]):
        assert run(words) == 0
    assert [query["limit"] for _, query in api.asked] == [10_000, 3]


ROW: Any = {"key": "/src", "usd": "1", "runs": 2, "unknown_runs": 0, "disputed_usd": "0"}
BRIEF = BriefShape("ana", "2026-11-29", "2026-11-30", {}, [], (), [], [], [], ROW, [], 0, 0)


def test_a_brief_since_a_time_has_the_costs_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = {"brief": to_json(BRIEF), "by_day": [], "by_repository": []}
    ran = shown({"/v1/report": report, "/v1/brief": report["brief"]}, monkeypatch, capsys)
    assert ran("brief", "--since", "7d") == {**to_json(BRIEF), "by_day": [], "by_repository": []}
    assert ran("brief") == to_json(BRIEF)


def command(name: str) -> click.Command:
    found: click.Command | None = cli
    for word in name.split():
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    return found


def test_a_list_writes_times_and_money_by_the_names_of_its_fields() -> None:
    row = {"ended_at": "2026-11-20T08:20:24.123Z", "usd": "1.5", "held_usd": None, "names": ["a", "b"]}
    columns: Columns = {"AT": "ended_at", "COST": "usd", "HELD": "held_usd", "NAMES": "names", "N": len}
    assert format_rows([row], columns).splitlines() == [
        "AT               COST   HELD  NAMES  N",
        "11-20 08:20:24Z  $1.50  -     a, b   4",
    ]
    assert format_rows([], columns, "nothing") == "nothing\n" and format_rows([], columns).startswith("AT")


def test_a_gate_has_one_word_for_each_end() -> None:
    ends = [(True, 0), (False, 1), (False, None)]
    run: Any = {"commit": "c0ffee", "gates": [{"name": "t", "passed": p, "exit_code": c} for p, c in ends]}
    assert gate_lines(run) == [f"  gates      t: {end}" for end in ("passed", "failed, exit 1", "failed")]
    assert gate_lines(run | {"gates": []}) == ["  gates      none: this change is untested"]
    assert gate_lines(run | {"commit": None, "gates": []}) == []


def test_a_worker_has_a_rate_without_the_runs_that_users_stopped() -> None:
    worker: Any = {"agent": "builder", "runtime": "claude", "node": "n1", "now": [], "runs": 5, "done": 3}
    worker |= {"stopped": 1, "unknown_runs": 0, "usd": "0.4", "minutes": 10}
    assert "0.75" in format_rows(list[Any]([worker]), _WORKERS).splitlines()[1].split()
    assert "idle" in format_rows(list[Any]([worker | {"runs": 0, "stopped": 0}]), _WORKERS)


def test_a_brief_since_a_time_has_the_costs_of_repositories_and_days() -> None:
    costs = (("By repository", [ROW]), ("By day", list[Any]()))
    assert _text(BRIEF, False, costs).endswith("By repository:\n  /src  $1.00 for 2 runs\n")
    page = _text(BRIEF, True, costs)
    assert "## By repository" in page and "By day" not in page


def help_of(*words: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run([*words, "-h"]) == 0
    return out.getvalue()


def test_a_group_says_which_command_its_name_alone_runs() -> None:
    assert "`pancode runs` alone runs `pancode runs ls`." in help_of("runs")
    assert "alone" not in help_of("fleet"), "its name alone shows the help"


def test_the_help_of_arguments_is_shown_once() -> None:
    shown = help_of("answer")
    assert shown.count("The answer, or the number of a choice.") == 1
    assert re.search(r"Arguments:\n  RUN .*\n  TEXT  The answer", shown)


def test_a_flag_has_no_opposite_that_nobody_declared() -> None:
    flags = re.findall(r"--no-[a-z-]+", "".join(help_of(*name.split()) for name in TREE))
    assert set(flags) == {
        "--no-gates",
        "--no-fleet-key",
        "--no-follow",
        "--no-pull-follow",
        "--no-pull-merge",
    }


def test_helps_name_their_neighbours_and_the_exit_codes() -> None:
    assert "pancode help exit-codes" in help_of("dispatch")
    names = ("answer", "tell", "approve")
    for one in names:
        assert all(f"pancode {other}" in help_of(one) for other in names)


def test_other_names_of_commands_are_sorted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "words", "--json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)["words"]]
    assert names == sorted(names) and "stoprun" in names
