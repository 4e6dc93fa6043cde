"""What the command line draws on a terminal: nothing is lost or obeyed, and a pipe gets plain lines."""

from __future__ import annotations

import io
import random  # noqa: TID251 - seeded
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pancode.fleet.commands.fleet import _format_status
from pancode.interfaces.cli import main as entry
from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.progress import ProgressRow, Steps
from pancode.interfaces.cli.terminal import (
    can_draw,
    color_diff,
    format_table,
    measure_width,
    shorten_binaries,
)
from tests.fakes.answers import fleet, machine

HEAD = ("RUN", "STATE", "MODEL", "TASK")
HOSTILE = "[red]a[/red] :smile: [link=http://x]b[/] \x1b[2J\x1b]0;owned\x07 日本語 c\u202ed"
ROWS = [
    ("r-7f3k2x", "done", "ollama/qwen3-coder:30b", HOSTILE),
    ("r-2", "verify_failed", None, "repair it " * 20),
]
STYLE = re.compile(r"\x1b\[[0-9;]*m")
MOVE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """As wide as COLUMNS says."""

    def isatty(self) -> bool:
        return True


Screen = Callable[[], Terminal]


@pytest.fixture(params=[40, 60, 80, 200])
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setenv("TERM", "xterm")
    return int(request.param)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """To be called in the test itself: pytest puts its own streams there before it."""

    def begun() -> Terminal:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        return terminal

    return begun


def test_a_table_fits_and_loses_nothing(columns: int, screen: Screen) -> None:
    screen()
    told = STYLE.sub("", format_table(HEAD, ROWS))
    assert all(measure_width(line) <= columns for line in told.splitlines())
    assert told.count("repair") == 20 and "r-7f3k2x" in told
    for piece in ("[red]a[/red]", ":smile:", "\\x1b[2J", "日本語"):
        assert piece in told if columns > 80 else set(piece) <= set(told)
    assert "\x1b" not in told and "\x07" not in told and "\u202e" not in told


def test_two_columns_may_have_one_name(columns: int, screen: Screen) -> None:
    screen()
    told = STYLE.sub("", format_table(("RULE", "HAPPENED", "HAPPENED"), [("read", "1 of 9", "2 of 9")]))
    assert "1 of 9" in told and "2 of 9" in told and told.count("HAPPENED") == 2


def test_what_is_below_a_row_stays_there_however_many_lines_it_takes(columns: int, screen: Screen) -> None:
    screen()
    told = STYLE.sub("", format_table(HEAD, ROWS, below=[["  fix: one"], ["  fix: two"]]))
    assert told.index("r-7f3k2x") < told.index("fix: one") < told.index("r-2") < told.index("fix: two")


def test_what_there_is_no_room_for_is_named(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    screen()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "44")
    told = format_table(HEAD, ROWS, spare=["MODEL"])
    assert "no room for column MODEL:" in told and "qwen3" not in told
    monkeypatch.setenv("COLUMNS", "120")
    assert "no room" not in format_table(HEAD, ROWS, spare=["MODEL"])


@pytest.mark.parametrize("variable", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colour_gets_the_lines_of_a_pipe(
    variable: tuple[str, str], columns: int, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen()
    monkeypatch.setenv(*variable)
    plain = format_table(HEAD, ROWS)
    assert not can_draw(sys.stdout) and "\x1b" not in plain
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert format_table(HEAD, ROWS) == plain


def test_a_diff_is_coloured_and_not_obeyed(columns: int, screen: Screen) -> None:
    screen()
    change = (
        b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-[red]\told\x1b[2J\n+" + b"new " * 60 + b"\n"
    )
    told = color_diff(change, sys.stdout)
    assert "\x1b[32m+new" in told and "\x1b[31m-[red]\told<1b>[2J" in told
    assert STYLE.sub("", told) == change.decode().replace("\x1b", "<1b>")


def test_a_step_of_a_bring_up_is_one_line_in_the_end(columns: int, screen: Screen) -> None:
    told_on = screen()

    def step(state: str, seconds: float) -> dict[str, object]:
        return {"node": "desk", "step": "bundle", "state": state, "text": HOSTILE, "seconds": seconds}

    with Steps(Face(as_json=False), verbose=True) as shown:
        shown.show(step("started", 0.0))
        shown.show(step("done", 1.5))
    last = MOVE.sub("", told_on.getvalue()).rstrip().rpartition("\n")[2].rpartition("\r")[2]
    assert "ok  1.5 s  [red]a[/red] :smile:" in MOVE.sub("", told_on.getvalue())
    assert "..." not in last and "\x1b[2J" not in told_on.getvalue() and "\x07" not in told_on.getvalue()


def test_progress_stays_on_its_line_and_an_agents_words_stand_above(columns: int, screen: Screen) -> None:
    told_on = screen()
    with ProgressRow(Face(as_json=False), leaves=True) as line:
        line.show("running", "  r-7f3k  running on a machine with a long name" + "e" * 200)
        line.above(HOSTILE)
    words = MOVE.sub("", told_on.getvalue())
    assert "[red]a[/red] :smile: [link=http://x]b[/] \\x1b[2J" in words.replace("\n", "")
    assert all(measure_width(part) <= columns for part in re.split(r"[\r\n]", words.split("[red]")[0]))


def test_in_a_pipe_each_stage_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressRow(Face(as_json=False), leaves=True) as line:
        for stage, text in (("a", "being sent"), ("a", "being sent  1 k tokens"), ("b", "done")):
            line.show(stage, text)
    assert capsys.readouterr().err == "being sent\ndone\n"


def test_a_node_cannot_write_markup_into_the_status(columns: int, screen: Screen) -> None:
    screen()
    problem = {"what": HOSTILE, "fix": "", "says": HOSTILE}
    node = machine("desk", version="[bold]1", isolation=HOSTILE, problems=[problem])
    told = STYLE.sub("", _format_status(fleet(node)))
    assert told.count("        [red]a[/red] :smile:") >= 2 and "\x1b" not in told and "\u202e" not in told


def test_the_first_help_loads_no_command_and_the_name_of_a_flag_is_no_value(screen: Screen) -> None:
    told_on = screen()
    before = set(sys.modules)
    assert entry.run(["-h"]) == 0
    assert "dispatch" in told_on.getvalue()
    assert not {name for name in set(sys.modules) - before if ".commands." in name}
    assert entry.run(["budget", "set", "-h"]) == 0
    told = STYLE.sub("", told_on.getvalue())
    assert "[USD|none]" in told and "--json" in told and "_FACE" not in told


def test_a_pipe_needs_no_rich() -> None:
    load = "import sys; from pancode.interfaces.cli.main import run"
    probe = f"{load}; run(['runs', '-h']); print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.stdout.endswith("False\n") and "╭" not in done.stdout, done.stderr


def test_a_column_that_may_be_cut_leaves_each_row_on_one_line(columns: int, screen: Screen) -> None:
    screen()
    head = (*HEAD[:-1], "AT", "TASK")
    rows = [(*row[:-1], "11-20 08:20:24", row[-1]) for row in ROWS]
    told = STYLE.sub("", format_table(head, rows, spare=("MODEL",), cut="TASK"))
    lines = told.splitlines()
    assert all(measure_width(line) <= columns for line in lines)
    if columns >= 60:
        assert len(lines) == 3 + (columns in (60, 80))
        assert "11-20 08:20:24" in lines[1] and "repair it" in lines[2]
        assert lines[2].rstrip().endswith("…") or columns == 200


def test_a_binary_file_of_a_change_is_one_line_on_a_terminal_and_whole_for_a_program(tmp_path: Path) -> None:
    def git(*args: str) -> bytes:
        return subprocess.run(["git", *args], cwd=tmp_path, check=True, capture_output=True).stdout

    git("init", "-q")
    git("config", "user.email", "a@b")
    git("config", "user.name", "a")
    for size, name in ((9_000, "large.bin"), (300, "gone.bin")):
        (tmp_path / name).write_bytes(random.Random(size).randbytes(size))
    git("add", ".")
    git("commit", "-qm", "x")
    (tmp_path / "large.bin").write_bytes(random.Random(1).randbytes(5_000))
    (tmp_path / "new.bin").write_bytes(b"\0" * 70_000)
    (tmp_path / "gone.bin").unlink()
    (tmp_path / "a.txt").write_text("a line\n")
    git("add", ".")
    change = git("diff", "--cached", "--binary")
    terminal, pipe = io.StringIO(), io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    shown = shorten_binaries(change, terminal).decode()
    assert "binary file, 9000 bytes before, 5000 now\n" in shown and "300 bytes before, 0 now\n" in shown
    assert "binary file, 0 bytes before, 70000 now\n" in shown and "+a line\n" in shown
    assert "literal" not in shown and shown.count("diff --git") == 4
    assert shorten_binaries(change, pipe) == change
