"""The runtime `opencode`: its settings are the measured ones, and no user text is on its command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from node_agent.runtimes.base import ProcessSpec, Resume
from node_agent.runtimes.opencode.command import launch
from node_agent.wire.policy import Mode, Safety
from node_agent.wire.receipt import Usage
from tests.unit.node_agent.runtimes.asked import PLACE, ask, place

READ = {"*": "deny", "read": "allow", "grep": "allow", "glob": "allow", "list": "allow"}
EDIT = {**READ, "edit": {"*": "allow", ".git/*": "deny", ".git/**": "deny"}}
FULL = {**EDIT, "bash": "allow"}


def settings(made: ProcessSpec) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(made.env["OPENCODE_CONFIG_CONTENT"])
    return told


@pytest.mark.parametrize(
    ("mode", "safety", "read_only", "rules"),
    [
        (Mode.BUILD, Safety.AUTO_EDIT, False, EDIT),
        (Mode.BUILD, Safety.FULL_AUTO, False, FULL),
        (Mode.BUILD, Safety.AUTO_EDIT, True, READ),
        (Mode.BUILD, Safety.SUGGEST, False, READ),
        (Mode.BUILD, Safety.FULL_AUTO, True, READ),
        (Mode.PLAN, Safety.FULL_AUTO, False, READ),
        (Mode.REVIEW, Safety.AUTO_EDIT, False, READ),
        (Mode.ADMIN, Safety.AUTO_EDIT, False, READ),
    ],
)
def test_mode_level_and_agent_become_permissions(
    mode: Mode, safety: Safety, read_only: bool, rules: dict[str, object]
) -> None:
    made = launch(ask(mode=mode, safety=safety, read_only=read_only, model="m"), PLACE)
    permission = settings(made)["permission"]
    assert permission == rules
    assert list(permission)[0] == "*", "later rules win, so this one must come first"
    assert made.argv[:5] == ("opencode", "run", "--format", "json", "--pure")
    assert made.argv[5:] == ("--model", "pancode/m", "--title", "pancode")


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"OPENAI_API_KEY": "k"}, {"baseURL": "https://api.openai.com/v1", "apiKey": "{env:OPENAI_API_KEY}"}),
        ({"OPENAI_BASE_URL": "http://h/v1"}, {"baseURL": "{env:OPENAI_BASE_URL}"}),
        (
            {"OPENAI_BASE_URL": "http://h/v1", "OPENAI_API_KEY": "k"},
            {"baseURL": "{env:OPENAI_BASE_URL}", "apiKey": "{env:OPENAI_API_KEY}"},
        ),
    ],
)
def test_the_settings_name_key_and_server_but_do_not_hold_them(
    given: dict[str, str], options: dict[str, str]
) -> None:
    made = launch(ask(model="vendor/m"), place(env=given))
    provider = settings(made)["provider"]["pancode"]
    assert provider["options"] == options
    assert list(provider["models"]) == ["vendor/m"] and "pancode/vendor/m" in made.argv
    assert {name: made.env[name] for name in given} == given


def test_resume_and_prompt_become_words_and_files() -> None:
    made = launch(ask(prompt="be kind", resume=Resume("s-1", Usage())), PLACE)
    assert made.argv[-2:] == ("--session", "s-1")
    assert made.files["prompt.md"] == b"be kind"
    assert settings(made)["instructions"] == ["/node/homes/r/prompt.md"]
    assert made.env["XDG_DATA_HOME"] == "/node/homes/r/data"
    assert "instructions" not in settings(launch(ask(), PLACE))


LOGIN = json.dumps({"openai": {"type": "oauth", "access": "an-access", "refresh": "a-refresh", "expires": 1}})


def test_a_chatgpt_account_is_used_by_its_own_provider_from_a_file() -> None:
    made = launch(ask(model="gpt-5.5"), place(env={"OPENCODE_LOGIN": LOGIN}))
    assert b"an-access" in made.login["data/opencode/auth.json"] and "an-access" not in repr(made.env)
    assert "a-refresh" not in repr(made) and "openai/gpt-5.5" in made.argv
    told = settings(made)
    assert told["enabled_providers"] == ["openai"] and list(told["provider"]) == ["openai"]
    assert list(told["provider"]["openai"]) == ["models"], "and no address: its program knows where"
    assert "OPENCODE_DISABLE_DEFAULT_PLUGINS" not in made.env, "one of those logs it in"


@pytest.mark.parametrize("other", [{"OPENAI_API_KEY": "k"}, {"OPENAI_BASE_URL": "http://h/v1"}])
def test_a_key_or_a_server_goes_before_its_login(other: dict[str, str]) -> None:
    made = launch(ask(model="m"), place(env={"OPENCODE_LOGIN": LOGIN, **other}))
    assert not made.login and "OPENCODE_LOGIN" not in made.env and "pancode/m" in made.argv
    assert made.env["OPENCODE_DISABLE_DEFAULT_PLUGINS"] == "1"
