"""The runtime `codex`: its command line is the measured one, and user text never reaches it."""

from __future__ import annotations

import tomllib

import pytest

from node_agent.runtimes.base import Resume
from node_agent.runtimes.codex.command import find_enforcement, launch
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety
from node_agent.wire.receipt import Usage
from tests.unit.node_agent.runtimes.asked import PLACE, ask, place


def settings(argv: tuple[str, ...]) -> dict:
    """What the program reads from its `-c` pairs, which are lines of TOML."""
    return tomllib.loads("\n".join(argv[i + 1] for i, word in enumerate(argv) if word == "-c"))


@pytest.mark.parametrize(
    ("mode", "safety", "read_only", "sandbox", "network"),
    [
        (Mode.BUILD, Safety.AUTO_EDIT, False, "workspace-write", False),
        (Mode.BUILD, Safety.FULL_AUTO, False, "workspace-write", True),
        (Mode.BUILD, Safety.AUTO_EDIT, True, "read-only", False),
        (Mode.BUILD, Safety.SUGGEST, False, "read-only", False),
        (Mode.BUILD, Safety.FULL_AUTO, True, "read-only", False),
        (Mode.PLAN, Safety.FULL_AUTO, False, "read-only", False),
        (Mode.REVIEW, Safety.AUTO_EDIT, False, "read-only", False),
        (Mode.ADMIN, Safety.AUTO_EDIT, False, "read-only", False),
    ],
)
def test_mode_level_and_agent_become_a_sandbox(
    mode: Mode, safety: Safety, read_only: bool, sandbox: str, network: bool
) -> None:
    argv = launch(ask(mode=mode, safety=safety, read_only=read_only, model="m"), PLACE).argv
    assert argv[:6] == (
        "codex",
        "exec",
        "--json",
        "--skip-git-repo-check",
        "--ignore-user-config",
        "--ignore-rules",
    )
    assert argv[6:10] == ("-m", "m", "-s", sandbox)
    told = settings(argv)
    assert told["approval_policy"] == "never"
    assert told["sandbox_workspace_write"] == {"network_access": network, "exclude_slash_tmp": True}
    assert told["shell_environment_policy"] == {"ignore_default_excludes": False}


@pytest.mark.parametrize(
    ("given", "url", "key"),
    [
        ({"OPENAI_API_KEY": "k"}, "https://api.openai.com/v1", "OPENAI_API_KEY"),
        ({"OPENAI_BASE_URL": 'http://h/"v1'}, 'http://h/"v1', None),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://h/v1"}, "http://h/v1", "OPENAI_API_KEY"),
    ],
)
def test_key_and_server_come_from_the_node(given: dict[str, str], url: str, key: str | None) -> None:
    made = launch(ask(), place(env=given))
    provider = settings(made.argv)["model_providers"]["pancode"]
    assert (provider["base_url"], provider["wire_api"], provider.get("env_key")) == (url, "responses", key)
    assert made.env.get("OPENAI_API_KEY") == given.get("OPENAI_API_KEY")
    assert "k" not in made.argv


def test_resume_and_prompt_become_words_and_files() -> None:
    made = launch(ask(prompt="be kind", resume=Resume("s-1", Usage())), PLACE)
    assert made.argv[-3:] == ("resume", "s-1", "-")
    assert made.files["codex/AGENTS.md"] == b"be kind"
    assert made.env["CODEX_HOME"] == "/node/homes/r/codex"
    assert "-m" not in made.argv
    assert "codex/AGENTS.md" not in launch(ask(), PLACE).files


@pytest.mark.parametrize("safety", list(Safety))
def test_every_level_is_held_by_its_own_sandbox_or_ours(safety: Safety) -> None:
    assert find_enforcement(Mode.BUILD, safety, False, Isolation.NONE) is Enforcement.RUNTIME
    assert find_enforcement(Mode.BUILD, safety, False, Isolation.SANDBOX) is Enforcement.SANDBOX


@pytest.mark.parametrize("safety", list(Safety))
def test_inside_our_sandbox_its_own_is_off(safety: Safety) -> None:
    """One inside another fails for every command, and says nothing of it."""
    argv = launch(ask(safety=safety), place(isolation=Isolation.SANDBOX)).argv
    assert argv[argv.index("-s") + 1] == "danger-full-access"
