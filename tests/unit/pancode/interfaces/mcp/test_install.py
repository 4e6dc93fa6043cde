"""Entering the MCP server into other programs by their own commands, or telling what to write where."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pancode.interfaces.cli.main import run
from pancode.interfaces.mcp.commands import PROGRAMS, run_command
from pancode.kernel.errors import ConfigError, ExitCode

US = ["PANCODE", "mcp"]
ADDS = {
    "claude": ["mcp", "add", "--scope", "user", "pancode", "--env", "PANCODE_HOME=HOME", "--", *US],
    "codex": ["mcp", "add", "pancode", "--env", "PANCODE_HOME=HOME", "--", *US],
    "gemini": ["mcp", "add", "--scope", "user", "pancode", US[0], "--env", "PANCODE_HOME=HOME", "--", "mcp"],
    "opencode": ["mcp", "add", "pancode", "--env", "PANCODE_HOME=HOME", "--", *US],
    "copilot": ["mcp", "add", "pancode", "--env", "PANCODE_HOME=HOME", "--", *US],
    "qwen": ["mcp", "add", "--scope", "user", "pancode", US[0], "--env", "PANCODE_HOME=HOME", "--", "mcp"],
}
"""The arguments that each real program took (versions of tests/clis/install.py)."""
REMOVES = {
    "claude": ["mcp", "remove", "--scope", "user", "pancode"],
    "codex": ["mcp", "remove", "pancode"],
    "gemini": ["mcp", "remove", "--scope", "user", "pancode"],
    "copilot": ["mcp", "remove", "pancode"],
    "qwen": ["mcp", "remove", "--scope", "user", "pancode"],
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a folder `bin` that alone is on PATH, and nothing in it."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PANCODE_HOME", str(tmp_path / 'a "fleet"'))
    for program in PROGRAMS.values():
        if program.variable:
            monkeypatch.delenv(program.variable, raising=False)
    return tmp_path


def lay(home: Path, program: str, script: str = "echo done by it") -> Path:
    """Put a program there that writes down its arguments; return the file with them."""
    file = home / "bin" / program
    told = home / f"{program}.argv"
    file.write_text(f'#!/bin/sh\nfor word in "$@"; do echo "$word"; done > {told}\n{script}\n')
    file.chmod(0o755)
    return told


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_programs_own_command_enters_the_server(
    home: Path, capsys: pytest.CaptureFixture[str], program: str
) -> None:
    told = lay(home, program)
    lay(home, "pancode")
    wanted = [word.replace("HOME=HOME", f"HOME={os.environ['PANCODE_HOME']}") for word in ADDS[program]]
    wanted = [str(home / "bin/pancode") if word == US[0] else word for word in wanted]
    assert run(["mcp", "install", program, "--dry-run"]) == ExitCode.DONE and not told.exists()
    assert f"would run: {program} mcp add" in capsys.readouterr().out
    assert run(["mcp", "install", program, "--yes"]) == ExitCode.DONE
    assert told.read_text().splitlines() == wanted
    assert capsys.readouterr().out == "done by it\nrestart the program to apply the change\n"
    assert run(["mcp", "install", program, "--tools", "all", "--yes", "--json"]) == ExitCode.DONE
    assert told.read_text().splitlines() == [*wanted, "--tools", "all"]
    answer = json.loads(capsys.readouterr().out)
    assert answer["changed"] and answer["command"] == [program, *wanted, "--tools", "all"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_programs_own_command_takes_it_out(
    home: Path, capsys: pytest.CaptureFixture[str], program: str
) -> None:
    told = lay(home, program)
    assert run(["mcp", "uninstall", program, "--yes"]) == ExitCode.DONE
    said = capsys.readouterr()
    if program in REMOVES:
        assert told.read_text().splitlines() == REMOVES[program]
    else:
        assert "has no command for this" in said.err and not told.exists()
        assert f"remove from {home}/.config/opencode/opencode.json" in said.out


def test_nobody_is_there_to_agree(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = lay(home, "claude")
    assert run(["mcp", "install", "claude"]) == ExitCode.USAGE
    assert "--yes" in capsys.readouterr().err and not told.exists()


def test_a_failure_is_shown_with_the_programs_words(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lay(home, "claude", "echo half of it; echo 'pancode already exists in user config' >&2; exit 1")
    assert run(["mcp", "install", "claude", "--yes"]) == ExitCode.CONFIG
    said = capsys.readouterr()
    assert said.out == "" and "failed with exit status 1" in said.err
    assert "already exists in user config" in said.err and "pancode mcp uninstall claude" in said.err


def test_a_program_that_cannot_be_started_is_a_failure(home: Path) -> None:
    with pytest.raises(ConfigError, match="codex"):
        run_command(str(home / "none"), ["codex", "mcp"], "")


def parsed(program: str, lines: str) -> dict[str, Any]:
    read = tomllib.loads if program == "codex" else json.loads
    return dict(read(lines)[PROGRAMS[program].section]["pancode"])


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_the_program_the_lines_and_their_file_are_told(
    home: Path, capsys: pytest.CaptureFixture[str], program: str
) -> None:
    lay(home, "pancode")
    assert run(["mcp", "install", program]) == ExitCode.DONE
    said = capsys.readouterr()
    assert f"{program} is not on PATH" in said.err
    first, _, lines = said.out.partition("\n")
    assert first == f"add to {home / PROGRAMS[program].file}:"
    entry = parsed(program, lines)
    ours = [str(home / "bin/pancode"), "mcp"]
    assert (entry["command"] if program == "opencode" else [entry["command"], *entry["args"]]) == ours
    env = entry["environment" if program == "opencode" else "env"]
    assert env == {"PANCODE_HOME": os.environ["PANCODE_HOME"]}
    assert run(["mcp", "install", program, "--json"]) == ExitCode.DONE
    answer = json.loads(capsys.readouterr().out)
    assert (answer["changed"], answer["command"], answer["lines"]) == (False, [], lines)


def test_without_a_home_of_its_own_no_variable_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PANCODE_HOME")
    for program in PROGRAMS:
        assert run(["mcp", "install", program, "--json"]) == ExitCode.DONE
        assert (
            not {"env", "environment"} & parsed(program, json.loads(capsys.readouterr().out)["lines"]).keys()
        )


def test_a_variable_of_the_program_moves_its_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CODEX_HOME", "/elsewhere")
    assert run(["mcp", "install", "codex"]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("add to /elsewhere/config.toml:\n")


def test_an_unknown_program_is_refused_with_those_that_are_known(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["mcp", "install", "emacs"]) == ExitCode.USAGE
    assert "claude, codex" in capsys.readouterr().err
