"""The runtime `copilot`: its flags are the measured ones, and no user text is on its command line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from node_agent.runtimes.base import Resume
from node_agent.runtimes.copilot.command import launch
from node_agent.wire.policy import Mode, Safety
from node_agent.wire.receipt import Usage
from tests.unit.node_agent.runtimes.asked import PLACE, ask, place

NO_SHELL = ["--deny-tool=shell", "--deny-tool=url"]
READ = ["--deny-tool=write", *NO_SHELL, "--available-tools=view,grep,glob"]
GIT = ["--deny-tool=write(.git)", "--deny-tool=write(.git/**)"]
FILES = "--available-tools=view,grep,glob,create,edit,str_replace_editor,apply_patch"
EDIT = [*NO_SHELL, FILES, *GIT]
FULL = [f"{FILES},bash,write_bash,read_bash,stop_bash,list_bash,update_todo", *GIT]


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
    ],
)
def test_mode_level_and_agent_become_tools_and_denials(
    mode: Mode, safety: Safety, read_only: bool, rules: list[str]
) -> None:
    made = launch(ask(mode=mode, safety=safety, read_only=read_only, model="m"), PLACE)
    assert made.argv[5] == "copilot"
    assert list(made.argv[made.argv.index("--usage-output-file") + 2 :]) == rules
    assert not {"--allow-all", "--yolo", "--allow-all-paths", "--trust-folder"} & set(made.argv)
    assert "COPILOT_ALLOW_ALL" not in made.env


def test_the_report_follows_the_stream_as_one_line_and_the_status_stays(tmp_path: Path) -> None:
    script = launch(ask(), PLACE).argv[:4]
    report = tmp_path / "a b.json"

    def run(*program: str) -> tuple[int, bytes]:
        done = subprocess.run([*script, str(report), *program], capture_output=True, check=False)
        assert done.stderr == b"" or done.returncode == 127, "nothing is kept back"
        return done.returncode, done.stdout

    assert run("sh", "-c", "echo said; exit 3") == (3, b"said\n")
    assert run("no-such-program") == (127, b"")
    report.write_text('{\n "modelMetrics": {}\n}\n')
    assert run("printf", "half a line") == (0, b'half a line\n{ "modelMetrics": {}}\n')


@pytest.mark.parametrize(
    ("given", "server"),
    [
        ({}, {}),
        ({"COPILOT_PROVIDER_BASE_URL": "http://h/v1"}, {"COPILOT_PROVIDER_BASE_URL": "http://h/v1"}),
        (
            {"COPILOT_PROVIDER_BASE_URL": "http://h/v1", "COPILOT_PROVIDER_API_KEY": "k-of-the-owner"},
            {"COPILOT_PROVIDER_BASE_URL": "http://h/v1", "COPILOT_PROVIDER_API_KEY": "k-of-the-owner"},
        ),
    ],
)
def test_key_and_server_are_in_its_environment_and_nowhere_else(
    given: dict[str, str], server: dict[str, str]
) -> None:
    made = launch(ask(model="vendor/m"), place(env=given))
    assert {name: value for name, value in made.env.items() if name in server} == server
    assert ("COPILOT_PROVIDER_API_KEY" in made.env) is ("COPILOT_PROVIDER_API_KEY" in given)
    assert (made.env["COPILOT_MODEL"], made.env["COPILOT_OFFLINE"]) == ("vendor/m", "true")
    assert b"k-of-the-owner" not in b"".join(made.files.values()) and "k-of" not in " ".join(made.argv)


def test_resume_and_prompt_become_words_and_files() -> None:
    made = launch(ask(prompt="be kind", resume=Resume("s-1", Usage())), PLACE)
    assert made.argv[-3:] == ("--agent", "pancode", "--resume=s-1")
    agent = made.files["copilot/agents/pancode.agent.md"]
    assert agent.startswith(b"---\nname: pancode\n") and agent.endswith(b"---\nbe kind")
    assert "--agent" not in launch(ask(), PLACE).argv


def test_a_login_at_github_is_used_where_no_server_is_named() -> None:
    login = {"COPILOT_GITHUB_TOKEN": "t"}
    made = launch(ask(model="m"), place(env=login))
    assert made.env["COPILOT_GITHUB_TOKEN"] == "t" and made.env["COPILOT_MODEL"] == "m"
    assert not {"COPILOT_OFFLINE", "COPILOT_PROVIDER_WIRE_API"} & set(made.env)
    beside = launch(ask(model="m"), place(env={**login, "COPILOT_PROVIDER_BASE_URL": "http://x/v1"}))
    assert "COPILOT_GITHUB_TOKEN" not in beside.env and beside.env["COPILOT_OFFLINE"] == "true"
