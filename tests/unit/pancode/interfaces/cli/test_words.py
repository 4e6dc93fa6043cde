"""How the command line reads values and shows answers, without a coordinator."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from node_agent.wire.failure import Outcome
from pancode.fleet.commands.fleet import show_steps
from pancode.interfaces.cli import completions
from pancode.interfaces.cli import main as entry
from pancode.interfaces.cli.completions import agents as known_agents
from pancode.interfaces.cli.follow import format_summary, unless_landed
from pancode.interfaces.cli.output import MEANINGS, OUTCOMES, Face, exit_of, in_words
from pancode.interfaces.cli.parameters import parse_duration, parse_label, parse_money
from pancode.interfaces.cli.terminal import (
    Sink,
    clip_columns,
    escape_line,
    escape_output,
    format_bytes,
    format_count,
    format_seconds,
    format_table,
    format_usd,
    measure_width,
    short_time,
)
from pancode.interfaces.client.client import ServerEvent
from pancode.kernel.errors import ExitCode, PancodeError, UsageError, WorkspaceError
from pancode.kernel.formatting import BLANK
from pancode.runs.commands.dispatch_requests import task_text
from pancode.runs.commands.runs import _format_calls


@pytest.mark.parametrize(
    ("text", "ms"),
    [("90s", 90_000), ("1h30m", 5_400_000), ("1.5s", 1_500), ("250ms", 250), ("1 d", 86_400_000)],
)
def test_durations(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize("text", ["90", "s", "-1s", "1y", "1h x", ""])
def test_what_is_no_duration_shows_the_form(text: str) -> None:
    with pytest.raises(click.BadParameter, match="15m"):
        parse_duration(text)


def test_what_was_left_behind_is_in_the_summary() -> None:
    shape: Any = {
        "run": "r-1",
        "outcome": "done",
        "state": "ended",
        "notes": ["no gates"],
        "status": "no_change",
        "reason": "done, nothing changed",
        "node": "desk",
        "runtime": "shell",
        "commit": None,
        "started_at": None,
        "finished_at": None,
        "usage": {"cost_usd": "0", "cost_source": "local", "disputed_usd": None},
        "findings": ["huge: larger than 100 MB, not in the result"],
        **dict.fromkeys(("landing", "verification"), None),
        **dict.fromkeys(("inbox", "attempts", "files_changed", "argv"), ()),
        "mode": "build",
        "stage": "ended",
    }
    assert "  finding    huge: larger than 100 MB, not in the result\n" in format_summary(shape)
    failed: Any = shape | {"outcome": "error"}
    assert "look: pancode logs" in format_summary(failed)
    missing = format_summary(failed | {"attempts": [{"failure": "gate_missing"}]})
    assert "look:" not in missing and f"why: pancode why {shape['run']}" in missing, "no log was written"
    assert "pancode models ls --servers" in format_summary(
        failed | {"attempts": [{"failure": "model_failed"}]}
    )
    landing = {"status": "held", "why": "w", "fix": "see; then: pancode land --with-commands r-1"}
    with pytest.raises(WorkspaceError) as held:
        unless_landed(shape | {"landing": landing, "inbox": {"command": "pancode approve r-1"}})
    assert held.value.fix == "pancode approve r-1", "the one command that the summary names"
    unable = format_summary(failed | {"attempts": [{"failure": "gate_not_runnable"}]})
    assert "look: pancode logs --stream gates.log r-1" in unable, "the words are the gate's, not the agent's"


def test_what_the_gateway_counted_is_shown_beside_the_claim() -> None:
    usage = {"input_tokens": 2400, "output_tokens": 68, "cost_usd": "0.0035"}
    claimed = {"input_tokens": 1200, "output_tokens": 34, "cost_usd": None}
    calls: Any = {"requests": 3, "failed": 1, "refused": 0, "unread": 0, "waited_ms": 0}
    calls |= {"subscription": False, "wrap_up": False}
    run: Any = {"usage": usage, "claimed": claimed}
    assert _format_calls(run, calls) == (
        "3 through the model gateway (1 failed): 2400 tokens in, 68 out, $0.0035; "
        "the runtime says 1200 tokens in, 34 out"
    )


def test_who_detaches_from_a_bring_up_is_told_that_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def cut() -> Iterator[ServerEvent]:
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        show_steps(Face(as_json=False), cut())
    assert "the coordinator continues" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("dispatch", "--priority", "1001", "x"), "-1000<=x<=1000"),
        (("dispatch", "--attempts", "11", "x"), "1<=x<=10"),
        (("runs", "logs", "last", "--offset", "3"), "--stream out --offset 3"),
    ],
)
def test_a_number_that_nothing_takes_is_refused_with_its_range(
    args: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(list(args)) == ExitCode.USAGE
    assert words in capsys.readouterr().err


def test_money_and_pairs() -> None:
    assert parse_money("$0.75") == "0.75"
    assert parse_label("gpu=a=b") == ("gpu", "a=b")
    wrong = (
        (parse_money, "1e5"),
        (parse_money, "-1"),
        (parse_money, "NaN"),
        (parse_label, "gpu"),
        (parse_label, "=x"),
    )
    for parser, said in wrong:
        with pytest.raises(click.BadParameter):
            parser(said)


def test_a_strangers_text_cannot_steer_the_terminal() -> None:
    assert escape_line("a\x1b[31mred\x1b[0m\nb\u202egnp") == "a\\x1b[31mred\\x1b[0m b\\x202egnp"
    assert escape_line("naïve 日本 🙂") == "naïve 日本 🙂"


def test_tables_line_up_whatever_is_in_them() -> None:
    text = format_table(("A", "B"), [("日本", "x"), ("abcdef", None), ("é", "y")])
    assert [measure_width(line.split("  ")[0]) for line in text.splitlines()[1:2]] == [4]
    columns = [line.rindex(line.split()[-1]) for line in text.splitlines() if "日" not in line]
    assert len(set(columns)) == 1 and "-" in text
    assert clip_columns("abcdefghij", 8) == "abcde..." and clip_columns("日本語日本語", 8) == "日本..."


def test_numbers_as_a_user_reads_them() -> None:
    assert (format_count(3_100), format_count(12), format_count(2.5e6)) == ("3.1 k", "12", "2.5 M")
    assert (format_bytes(88_000_000_000), format_bytes(512), format_bytes(None)) == ("82 G", "512 B", "-")
    assert [format_seconds(one) for one in (0, 0.4, 5, 12.3, 119, 3_723, 90_000, 200_000)] == [
        *("0 s", "0.4 s", "5 s", "12 s", "119 s", "62 min", "25 h", "2 d")
    ]
    assert (format_usd("9.5"), format_usd("0.05395275"), format_usd("10"), format_usd(None)) == (
        "$9.50",
        "$0.054",
        "$10.00",
        "unknown",
    )
    assert (format_usd("52.684929"), format_usd("-0.00125"), format_usd("0.00001")) == (
        "$52.68",
        "-$0.0013",
        "<$0.0001",
    )
    assert short_time("2026-11-20T08:20:24.123Z") == "11-20 08:20:24Z"


def test_every_outcome_has_its_status_and_every_status_its_meaning() -> None:
    ends = {outcome.value for outcome in Outcome} - {"superseded"}
    assert set(OUTCOMES) == ends and exit_of("done") == 0 and exit_of("lost") == 16
    assert exit_of("unheard of") == exit_of(None) == ExitCode.INTERNAL
    assert set(MEANINGS) == set(ExitCode)


def _walk(group: click.Group, context: click.Context) -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        found.append((inner.command_path, command))
        if isinstance(command, click.Group):
            found += _walk(command, inner)
    return found


ROOT = click.Context(entry.cli, info_name="pancode", help_option_names=["-h", "--help"])
ALL = _walk(entry.cli, ROOT)


@pytest.mark.parametrize(("path", "command"), ALL, ids=[path for path, _ in ALL])
def test_every_command_has_help_and_a_way_to_ask_for_json(path: str, command: click.Command) -> None:
    assert command.help, path
    no_json = (
        "pancode admin serve",
        "pancode top",
        "pancode mcp serve",
        "pancode sessions acp",
        "pancode admin api-stdio",
        "pancode admin completion",
    )
    silent = isinstance(command, click.Group) or path in no_json
    assert silent or any("--json" in p.opts for p in command.params), f"{path} has no --json"


@pytest.mark.parametrize("path", [path for path, one in ALL if not isinstance(one, click.Group)])
def test_every_command_shows_an_example(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run([*path.split()[1:], "-h"]) == 0
    shown = capsys.readouterr().out
    assert "Example" in shown and path in shown


@pytest.mark.parametrize("words", [["budget", "set", "-5"], ["budget", "set", "-2.50", "--scope", "day"]])
def test_a_number_below_zero_is_told_as_one(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(words) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "a negative number" in told and "option" not in told and "pancode budget set -h" in told


def test_an_unknown_option_leads_to_the_help_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["land", "--push"]) == ExitCode.USAGE
    assert "\n  look: pancode land -h\n" in capsys.readouterr().err


def test_an_empty_name_is_told_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["why", ""], ["runs", "show", ""], ["node", "show", ""]):
        assert entry.run(words) == ExitCode.USAGE
        assert "the name is empty" in capsys.readouterr().err


def test_a_drain_without_a_word_for_those_who_wait_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["fleet", "drain", "n1", "--reason", " "]) == ExitCode.USAGE
    assert "--reason must not be empty" in capsys.readouterr().err


def test_a_receipt_that_is_no_file_is_told_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["receipt", "verify", "./no/such.json"]) == ExitCode.NOT_FOUND
    assert "file no/such.json not found" in capsys.readouterr().out


def test_a_task_with_a_dash_is_led_to_where_it_can_stand(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["dispatch", "--node", "n1", "-x is broken: repair it"]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "begins with a dash" in told and "-- '-x is broken: repair it'" in told


def test_a_task_without_quotes_is_shown_with_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["dispatch", "--runtime", "shell", "repair", "it's", "--node", "n1"]) == ExitCode.USAGE
    assert """pancode dispatch ... 'repair it'"'"'s'""" in capsys.readouterr().err


def test_what_comes_after_two_dashes_asks_for_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["dispatch", "--priority", "x", "--", "rg", "--json"]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("error: ")


def test_a_folder_that_is_gone_is_told_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for words in (["dispatch", "x"], ["agents"], ["models"], ["fleet", "up"], ["config", "show"]):
        assert entry.run(words) == ExitCode.WORKSPACE
        assert "no longer exists" in capsys.readouterr().err
    assert known_agents("b") == []
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("command", "offered"),
    [
        ("logs", ["r-new", "r-asks", "r-works", "r-done", "last"]),
        ("land", ["r-new", "last"]),
        ("stop", ["r-works", "last"]),
        ("answer", ["r-asks", "last"]),
    ],
)
def test_a_command_completes_the_runs_on_which_it_can_act(
    monkeypatch: pytest.MonkeyPatch, command: str, offered: list[str]
) -> None:
    runs = [
        {"run": "r-new", "status": "to_land", "outcome": "done", "waits": None, "task": "# add a flag\nmore"},
        {"run": "r-asks", "status": "asks_you", "outcome": "blocked", "waits": None, "task": "b"},
        {"run": "r-works", "status": "running", "outcome": None, "waits": None, "task": "c"},
        {"run": "r-done", "status": "no_change", "outcome": "done", "waits": None, "task": "d"},
    ]
    monkeypatch.setattr(completions, "try_get", lambda *_: {"runs": runs})
    found = completions.complete_runs(typer.Context(click.Command(command), info_name=command), "")
    assert [run for run, _ in found] == offered
    assert "r-new" not in offered or found[0][1] == "to_land: add a flag"


def test_a_full_disk_is_told_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert entry.run(["--version"]) == ExitCode.CONFIG
    assert "no space left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["rusn"], "pancode runs?"),
        (["runs", "shwo", "x"], "pancode runs show?"),
        (["runs", "--jsno"], "--json?"),
        (["budget", "spent", "--sinse", "2d"], "--since?"),
        (["login"], "pancode node login?"),
        (["health"], "pancode status --health?"),
        (["dispatch", "--nod", "x", "t"], "--node"),
        (["stoprun", "x"], "use: pancode stop RUN"),
        (["dispatch", "status"], '"status" looks like a command: pancode status'),
        (["run", "list", "--node", "x"], "fix: pancode runs ls"),
        (
            ["dispatch", "list", "--node", "x"],
            "fix: pancode runs ls; if it is a task: pancode dispatch -- list",
        ),
        (["run", "--headless", "view"], "fix: pancode runs show"),
        (["dispatch", "--node", "gpubox"], "a task is required"),
        (["top", "--json"], "no such option: --json"),
        (["webhook", "add", "ci", "https://x"], "did you mean pancode project webhook?"),
    ],
)
def test_a_mistyped_name_is_usage_with_the_nearest_one(
    args: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(args) == ExitCode.USAGE
    assert words in capsys.readouterr().err


def test_a_receipt_s_file_that_is_not_there_is_no_unknown_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["receipt", "verify", "nosuch.json"]) == ExitCode.NOT_FOUND
    assert "file nosuch.json not found" in capsys.readouterr().out


def test_an_exported_receipt_of_a_workflow_of_0_1_0_is_not_called_tampered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "w.json").write_text('{"workflow": "w-1", "verdict": "PASS", "envelope": {}}')
    (tmp_path / "k.json").write_text('{"keys": []}')
    told = ["receipt", "verify", str(tmp_path / "w.json"), "--keys", str(tmp_path / "k.json")]
    assert entry.run(told) == ExitCode.NOT_FOUND
    assert "verify the receipts of its runs" in capsys.readouterr().out


def test_an_error_is_one_object_where_json_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["runs", "shwo", "--json"]) == ExitCode.USAGE
    told: dict[str, Any] = json.loads(capsys.readouterr().err)
    assert set(told["error"]) == {"code", "message", "why", "fix", "exit_code"}
    assert told["error"]["exit_code"] == 2 and told["error"]["code"] == "no_such_command"


def test_the_table_of_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["help", "exit-codes", "--json"]) == 0
    codes = {row["code"] for row in json.loads(capsys.readouterr().out)["exit_codes"]}
    assert codes == {int(code) for code in ExitCode}


def test_the_first_level_is_loaded_only_when_it_is_asked_for() -> None:
    assert not entry.cli.commands


def test_an_error_that_quotes_a_machine_cannot_steer_the_terminal() -> None:
    said = "exit 1: \x1b]0;owned\x07\x1b[2J\nerror: forged"
    words = in_words(PancodeError(f"failed {said}", why=said, fix=said).problem())
    assert "\x1b" not in words and "\x07" not in words
    assert len(words.splitlines()) == 3


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_output_of_a_run_cannot_steer_the_terminal() -> None:
    data = "a\x1b]0;owned\x07\x1b[2J\x9b2J\r50%\r\nnaïve 日本\tdone\x00\x7f\n".encode()
    told = escape_output(data, Terminal()).decode()
    assert not any(c in told for c in "\x1b\x07\x9b\x00\x7f\r")
    assert told.endswith("50%\nnaïve 日本\tdone<00><7f>\n") and "<1b>]0;owned<07>" in told
    assert escape_output(b"\x9b2J", Terminal()) == b"<9b>2J"
    assert escape_output(data, io.StringIO()) == data


def test_a_terminal_names_what_is_invisible_in_output_and_in_a_diff() -> None:
    """As the browser does; joiners and selectors of emoji are in ordinary text."""
    emoji = "\u200c\u200d\ufe0e\ufe0f"
    for char in sorted({*BLANK, *"\xad\u180e\u200b\u2028\u2029\u202e\u2066\ufeff\U000e0041"} - {*emoji}):
        told = escape_output(f"a{char}b".encode(), Terminal()).decode()
        assert told == f"a<U+{ord(char):04X}>b"
    assert escape_output(emoji.encode(), Terminal()).decode() == emoji


class WideTerminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("char", "\u202a\u202e\u2066\u2069\u200e\u200f\u061c\u200b\u2060\U000e0041")
def test_what_turns_a_line_around_is_shown_wherever_a_piece_is_cut(char: str) -> None:
    """Defect 26: a diff on a terminal read otherwise than it runs."""
    line = f"+if é{char}admin:\n".encode()
    for cut in range(len(line) + 1):
        told = io.BytesIO()
        sink = Sink(WideTerminal(told))
        sink.write(line[:cut])
        sink.write(line[cut:])
        assert told.getvalue().decode() == f"+if é<U+{ord(char):04X}>admin:\n"


def test_a_task_comes_from_a_file_or_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "task.md").write_text("# Do it\n\nin two lines\n")
    assert task_text(None, str(tmp_path / "task.md")) == "# Do it\n\nin two lines"
    assert task_text("a task", None) == "a task" and task_text(None, None) is None
    for said in (("-", None), (None, "-"), ("-", "-")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("naïve\n".encode())))
        assert task_text(*said) == "naïve"
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for task, file in (
        ("a", "b"),
        (None, str(tmp_path / "binary")),
        (None, str(tmp_path / "no")),
        (None, ""),
    ):
        with pytest.raises(UsageError):
            task_text(task, file)
