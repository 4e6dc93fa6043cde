"""The runtime `gemini`: its flags are the measured ones, and no user text is on its command line."""

from __future__ import annotations

import json
import tomllib

import pytest

from node_agent.runtimes.base import ProcessSpec, Resume
from node_agent.runtimes.gemini.command import launch
from node_agent.wire.policy import Mode, Safety
from node_agent.wire.receipt import Usage
from tests.unit.node_agent.runtimes.asked import PLACE, ask, place

NETWORK = {"web_fetch", "google_web_search"}
EDIT = {"run_shell_command"} | NETWORK
READ = EDIT | {"replace", "write_file", "enter_plan_mode", "exit_plan_mode"}


def denied(made: ProcessSpec) -> set[str]:
    rules = tomllib.loads(made.files.get("policy.toml", b"").decode()).get("rule", [])
    assert all(rule["decision"] == "deny" and rule["priority"] == 900 for rule in rules)
    return {rule["toolName"] for rule in rules}


@pytest.mark.parametrize(
    ("mode", "safety", "read_only", "flag", "tools"),
    [
        (Mode.BUILD, Safety.AUTO_EDIT, False, "auto_edit", EDIT),
        (Mode.BUILD, Safety.FULL_AUTO, False, "yolo", set()),
        (Mode.BUILD, Safety.AUTO_EDIT, True, "plan", READ),
        (Mode.BUILD, Safety.SUGGEST, False, "plan", READ),
        (Mode.BUILD, Safety.FULL_AUTO, True, "plan", READ),
        (Mode.PLAN, Safety.FULL_AUTO, False, "plan", READ),
        (Mode.REVIEW, Safety.AUTO_EDIT, False, "plan", READ),
    ],
)
def test_mode_level_and_agent_become_a_mode_and_denied_tools(
    mode: Mode, safety: Safety, read_only: bool, flag: str, tools: set[str]
) -> None:
    made = launch(ask(mode=mode, safety=safety, read_only=read_only, model="m"), PLACE)
    assert made.argv[:7] == ("gemini", "-o", "stream-json", "-m", "m", "--approval-mode", flag)
    assert denied(made) == tools
    policy = ("--admin-policy", "/node/homes/r/policy.toml") if tools else ()
    assert made.argv[7:] == ("--skip-trust", "--extensions", "none", *policy)


def test_without_a_model_it_takes_its_own() -> None:
    assert "-m" not in launch(ask(), PLACE).argv


def test_it_is_kept_alone_in_a_home_of_its_own() -> None:
    made = launch(ask(home="/a b/r"), PLACE)
    assert made.env["GEMINI_CLI_HOME"] == made.env["HOME"] == "/a b/r"
    assert made.env["NODE_OPTIONS"] == '--require="/a b/r/guard.cjs"'
    settings = json.loads(made.files[".gemini/settings.json"])
    assert settings["security"]["folderTrust"] == {"enabled": True}
    assert settings["hooksConfig"] == settings["skills"] == {"enabled": False}
    assert settings["advanced"] == {"ignoreLocalEnv": True}


def test_key_and_server_are_in_its_environment_and_nowhere_else() -> None:
    given = {"GEMINI_API_KEY": "k-of-the-owner", "GOOGLE_GEMINI_BASE_URL": "http://h:1"}
    made = launch(ask(), place(env=given))
    assert {name: made.env[name] for name in given} == given
    assert b"k-of-the-owner" not in b"".join(made.files.values()) and "k-of" not in " ".join(made.argv)
    keyless = launch(ask(), place(env={"GOOGLE_GEMINI_BASE_URL": "http://h:1"}))
    assert keyless.env["GEMINI_API_KEY"] == "none", "it does not start without one"


def test_a_google_account_is_used_where_there_is_neither_key_nor_server() -> None:
    login = {"GOOGLE_CLOUD_ACCESS_TOKEN": "t-of-the-owner", "GOOGLE_CLOUD_PROJECT": "p"}
    made = launch(ask(), place(env=login))
    assert {name: made.env[name] for name in login} == login and "GEMINI_API_KEY" not in made.env
    assert made.env["GOOGLE_GENAI_USE_GCA"] == "true"
    security = json.loads(made.files[".gemini/settings.json"])["security"]
    assert security["auth"] == {"selectedType": "oauth-personal"}
    assert "GOOGLE_CLOUD_ACCESS_TOKEN" in security["environmentVariableRedaction"]["blocked"]
    assert b"t-of-the-owner" not in b"".join(made.files.values()) and "t-of" not in " ".join(made.argv)
    for before in ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"):
        keyed = launch(ask(), place(env={**login, before: "x"}))
        assert not {"GOOGLE_CLOUD_ACCESS_TOKEN", "GOOGLE_GENAI_USE_GCA"} & set(keyed.env)
        assert keyed.argv[0] == "gemini"


def test_resume_and_prompt_become_words_and_files() -> None:
    made = launch(ask(prompt="be kind", resume=Resume("s-1", Usage())), PLACE)
    assert made.argv[-2:] == ("--resume", "s-1")
    assert made.files[".gemini/GEMINI.md"] == b"be kind"
    assert ".gemini/GEMINI.md" not in launch(ask(), PLACE).files
