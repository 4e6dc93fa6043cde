"""`pancode up` and `down` on a real tmux: what it is called, what comes back, and what never gets into it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pancode.interfaces.cli import main as entry
from pancode.interfaces.cli.output import PROGRAM
from pancode.kernel.errors import ExitCode
from pancode.sessions import tmux as tmux_server
from pancode.sessions.commands import tmux as up

SECRETS = ("ANTHROPIC_API_KEY", "PANCODE_REDIS_URL", "AWS_SECRET_ACCESS_KEY", "MY_TOKEN")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository, a tmux folder of its own, and windows that only wait."""
    for name in SECRETS:
        monkeypatch.setenv(name, "hush-hush")
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))
    monkeypatch.setenv("PANCODE_HOME", str(tmp_path / "p"))
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setattr(tmux_server, "THEN_A_SHELL", "exec sleep 600")
    top = tmp_path / "the shop.v2"
    (top / ".git").mkdir(parents=True)
    (top / "src").mkdir()
    monkeypatch.chdir(top / "src")
    yield top
    for socket in tmp_path.glob("tmux-*/*"):
        subprocess.run(["tmux", "-S", str(socket), "kill-server"], capture_output=True, check=False)


def tmux(tmp_path: Path, *words: str) -> str:
    (socket,) = tmp_path.glob("tmux-*/*")
    done = subprocess.run(["tmux", "-S", str(socket), *words], capture_output=True, text=True, check=True)
    return done.stdout


def names() -> list[str]:
    return sorted(one.name for one in up.list_terminals())


def test_a_second_up_comes_back_and_what_was_closed_is_there_again(tmp_path: Path, place: Path) -> None:
    assert entry.run(["up", "--json"]) == ExitCode.DONE == entry.run(["up", "--json"])
    assert names() == ["the shop_v2"]
    windows = ("list-windows", "-a", "-F", "#{window_name}")
    assert tmux(tmp_path, *windows).split() == ["chat", "top", "shell"]
    (one,) = up.list_terminals()
    assert (one.folder, one.attached) == (str(place / "src"), False)
    tmux(tmp_path, "kill-window", "-t", "=the shop_v2:top")
    assert entry.run(["up", "--json"]) == ExitCode.DONE
    assert sorted(tmux(tmp_path, *windows).split()) == ["chat", "shell", "top"]
    assert entry.run(["down"]) == ExitCode.DONE and names() == []


def test_no_secret_of_the_environment_gets_into_tmux(tmp_path: Path) -> None:
    assert entry.run(["up", "--json"]) == ExitCode.DONE
    shown = tmux(tmp_path, "show-environment", "-g") + tmux(tmp_path, "show-environment", "-t", "the shop_v2")
    assert "PANCODE_HOME=" in shown and "hush" not in shown
    pids = tmux(tmp_path, "list-panes", "-a", "-F", "#{pane_pid}").split()
    server = tmux(tmp_path, "display-message", "-p", "#{pid}").strip()
    for pid in (*pids, server):
        assert b"hush" not in Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("night shift", "night shift"), ('it\'s "a" (b)', 'it\'s "a" (b)'), ("a.b:c#{pid}", "a_b_c_{pid}"),
        ("=x", "=x"), ("$HOME;ls;", "_HOME_ls_"), ("*", "*"), ("\x1b[2J\n", "_[2J_"), ("", "pancode"),
        ("a\\b", "a_b"),
    ],
)  # fmt: skip
def test_any_name_is_one_session_that_is_found_again(text: str, name: str) -> None:
    assert entry.run(["up", text, "--json"]) == ExitCode.DONE == entry.run(["up", text, "--json"])
    assert names() == [name]
    assert entry.run(["up", "x", "--json"]) == ExitCode.DONE
    assert entry.run(["down", text]) == ExitCode.DONE
    assert names() == ["x"], "the other one stays"


def test_a_folder_of_the_same_name_is_another_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(["up", "--json"]) == ExitCode.DONE
    other = tmp_path / "elsewhere" / "the shop.v2"
    other.mkdir(parents=True)
    monkeypatch.chdir(other)
    assert entry.run(["up", "--json"]) == ExitCode.USAGE
    assert "pancode up 'the shop_v2-2'" in capsys.readouterr().err
    assert entry.run(["up", "the shop.v2", "--json"]) == ExitCode.DONE, "named, it is come back to"
    assert names() == ["the shop_v2"]
    assert entry.run(["down"]) == ExitCode.USAGE, "that is not this folder's"
    assert "pancode down 'the shop_v2'" in capsys.readouterr().err
    assert names() == ["the shop_v2"]


def test_limits_are_those_of_each_call_and_no_locale_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PANCODE_SAFETY", "suggest")
    assert entry.run(["up", "one", "--json"]) == ExitCode.DONE
    monkeypatch.delenv("PANCODE_SAFETY")
    monkeypatch.setenv("PANCODE_PER_RUN_BUDGET", "2")
    assert entry.run(["up", "two", "--json"]) == ExitCode.DONE
    assert "PANCODE_SAFETY=suggest\n" in tmux(tmp_path, "show-environment", "-t", "one")
    two = tmux(tmp_path, "show-environment", "-t", "two")
    assert "PANCODE_SAFETY=\n" in two and "PANCODE_PER_RUN_BUDGET=2\n" in two
    assert entry.run(["down", "one"]) == ExitCode.DONE == entry.run(["down", "two"])


def test_what_is_not_open_is_said_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["up", "shop", "--json"]) == ExitCode.DONE
    capsys.readouterr()
    assert entry.run(["down", "shpo", "--json"]) == ExitCode.NOT_FOUND
    assert json.loads(capsys.readouterr().err)["error"]["why"].endswith("shop?")


def test_without_a_terminal_no_tmux_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(up, "PROGRAM", ("sh", "-c", "exit 7"))
    assert entry.run(["up"]) == 7
    assert "this is not a terminal, so tmux is not opened" in capsys.readouterr().err
    assert names() == []


def test_without_tmux_the_chat_begins_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "begun: $*" > "$0.told"; exit 7\n')
    program.chmod(0o755)
    monkeypatch.setattr(up, "PROGRAM", (str(program), *PROGRAM[1:]))
    assert entry.run(["up"]) == 7
    assert (tmp_path / "python.told").read_text() == "begun: -P -m pancode\n"
    assert "tmux is not installed" in capsys.readouterr().err
    assert entry.run(["down"]) == ExitCode.UNAVAILABLE
