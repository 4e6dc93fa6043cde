"""What `pancode-node login` opens, keeps and says no to; the programs here are scripts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from node_agent.cli.logging_in import MISSING, NoLogin, log_in
from node_agent.machine.home import NodeHome
from node_agent.runtimes.logins import list_token_paths
from node_agent.vault.vault import LOOK_MS, Vault
from tests.fakes.node import MemoryClock

NAME = "CLAUDE_CODE_OAUTH_TOKEN"
TOKEN = "sk-ant-oat01-kept-for-runs"


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    """A node's, with a PATH of its own."""
    (tmp_path / "bin").mkdir()
    settings = {
        "fleet": "f-test",
        "name": "n1",
        "tag": "0123456789",
        "slots": 1,
        "redis": {"user": "u", "password_file": "p"},
        "path": f"{tmp_path}/bin:{os.defpath}",
    }
    (tmp_path / "node.json").write_text(json.dumps(settings))
    return NodeHome(tmp_path)


def installed(home: NodeHome, script: str, name: str = "claude") -> None:
    program = home.root / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def opened(home: NodeHome, said: str = TOKEN, **values: str) -> int:
    environ = {"HOME": "/nowhere", "TERM": "xterm", "SECRET_OF_THE_SESSION": "x"}
    return log_in(home, "claude", environ, values, lambda _: said)


def test_what_it_printed_is_kept_where_runs_find_it(home: NodeHome) -> None:
    installed(home, 'printf "%s\\n" "$*" >"$CLAUDE_CONFIG_DIR/asked"; env >"$CLAUDE_CONFIG_DIR/env"')
    clock = MemoryClock()
    vault = Vault(home.secrets, {}, clock, list_token_paths(home.root))
    assert NAME not in vault.values()
    assert opened(home) == 0
    clock.advance(LOOK_MS)
    folder = home.root / "logins" / "claude"
    assert (folder / "asked").read_text() == "setup-token\n"
    seen = (folder / "env").read_text()
    assert "TERM=xterm" in seen and "SECRET_OF_THE_SESSION" not in seen
    assert vault.values()[NAME] == TOKEN and NAME in vault.owned(), "found without a restart, and redacted"
    assert [oct(one.stat().st_mode & 0o777) for one in (folder, folder / "token")] == ["0o700", "0o600"]
    home.secrets.write_text(json.dumps({NAME: "of-the-owner"}))
    clock.advance(LOOK_MS)
    assert vault.values()[NAME] == "of-the-owner", "the owner's file goes first"


def test_a_login_that_leaves_a_file_is_asked_for_nothing(home: NodeHome) -> None:
    installed(home, 'test "$*" = "login --device-auth" && echo {} >"$CODEX_HOME/auth.json"', "codex")
    assert log_in(home, "codex", {}, {}, pytest.fail) == 0
    file = home.root / "logins" / "codex" / "auth.json"
    assert list_token_paths(home.root)["CODEX_LOGIN"] == file and oct(file.stat().st_mode & 0o777) == "0o600"
    file.unlink()
    installed(home, "true", "codex")
    assert log_in(home, "codex", {}, {}, pytest.fail) == 1, "it said that all was well, and left nothing"


@pytest.mark.parametrize("said", ["", "  ", "two words", "short"])
def test_without_a_token_nothing_is_kept(home: NodeHome, said: str) -> None:
    installed(home, "true")
    assert opened(home, said) == 1
    assert not list_token_paths(home.root)[NAME].exists()


@pytest.mark.parametrize(("gone", "status"), [(KeyboardInterrupt, 130), (EOFError, 1)])
def test_who_goes_away_from_the_question_keeps_nothing(
    home: NodeHome, gone: type[BaseException], status: int
) -> None:
    installed(home, "true")

    def ask(_: str) -> str:
        raise gone

    assert log_in(home, "claude", {}, {}, ask) == status and not list_token_paths(home.root)[NAME].exists()


@pytest.mark.parametrize(
    ("script", "status"), [("exit 3", 3), ("kill -TERM $$", 143), ("kill -INT $PPID; exit 1", 130)]
)
def test_a_login_that_failed_keeps_nothing_and_asks_for_nothing(
    home: NodeHome, script: str, status: int
) -> None:
    installed(home, script)
    assert opened(home) == status and not list_token_paths(home.root)[NAME].exists()


def test_the_owner_s_proxy_is_the_program_s_too(home: NodeHome) -> None:
    installed(home, 'env >"$CLAUDE_CONFIG_DIR/env"')
    wish = {"https_proxy": "http://proxy:1", "proxy_login": "PROXY", "no_proxy": ["corp"]}
    (home.root / "gateway.json").write_text(json.dumps(wish))
    assert opened(home, PROXY="me:word") == 0
    seen = (home.root / "logins" / "claude" / "env").read_text()
    assert "HTTPS_PROXY=http://me:word@proxy:1\n" in seen and "NO_PROXY=corp\n" in seen


@pytest.mark.parametrize(
    ("runtime", "words", "fix"),
    [
        ("claude", "claude", "~/.local @anthropic-ai/claude-code@latest"),
        ("gemini", "gemini", "GEMINI_API_KEY"),
        (
            "copilot",
            "copilot",
            "COPILOT_GITHUB_TOKEN",
        ),
        ("shell", "shell", "shell needs no login"),
        ("clod", "clod", "opencode"),
    ],
)
def test_what_cannot_be_opened(home: NodeHome, runtime: str, words: str, fix: str) -> None:
    with pytest.raises(NoLogin, match=words) as caught:
        log_in(home, runtime, {}, {}, lambda _: "")
    assert fix in caught.value.fix
    assert caught.value.status == (MISSING if runtime == "claude" else 1)
