"""The runtime `qwen`: its flags are the measured ones, and no user text is on its command line."""

from __future__ import annotations

import pytest

from node_agent.runtimes.base import Resume
from node_agent.runtimes.qwen.command import enforcement, launch
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety
from node_agent.wire.receipt import Usage
from tests.unit.node_agent.runtimes.asked import PLACE, ask, place

FULL = ["agent", "skill"]
EDIT = ["run_shell_command", "monitor", "web_fetch", *FULL]
READ = [*EDIT, "edit", "write_file", "notebook_edit", "exit_plan_mode"]


@pytest.mark.parametrize(
    ("mode", "safety", "read_only", "flag", "without"),
    [
        (Mode.BUILD, Safety.AUTO_EDIT, False, "auto-edit", EDIT),
        (Mode.BUILD, Safety.FULL_AUTO, False, "yolo", FULL),
        (Mode.BUILD, Safety.AUTO_EDIT, True, "plan", READ),
        (Mode.BUILD, Safety.SUGGEST, False, "plan", READ),
        (Mode.BUILD, Safety.FULL_AUTO, True, "plan", READ),
        (Mode.PLAN, Safety.FULL_AUTO, False, "plan", READ),
        (Mode.REVIEW, Safety.AUTO_EDIT, False, "plan", READ),
    ],
)
def test_mode_level_and_agent_become_a_mode_and_tools_that_are_gone(
    mode: Mode, safety: Safety, read_only: bool, flag: str, without: list[str]
) -> None:
    made = launch(ask(mode=mode, safety=safety, read_only=read_only, model="m"), PLACE)
    assert made.argv[:5] == ("qwen", "-o", "stream-json", "-m", "m")
    assert made.argv[5:9] == ("--auth-type", "openai", "--approval-mode", flag)
    assert made.argv[9:11] == ("--extensions", "none")
    assert made.argv[11::2] == ("--exclude-tools",) * len(without) and list(made.argv[12::2]) == without


def test_only_read_only_is_held() -> None:
    def grade(safety: Safety, isolation: Isolation = Isolation.NONE) -> Enforcement:
        return enforcement(Mode.BUILD, safety, False, isolation)

    assert grade(Safety.SUGGEST) is Enforcement.RUNTIME
    assert grade(Safety.AUTO_EDIT) is grade(Safety.FULL_AUTO) is Enforcement.TOLD_ONLY
    assert grade(Safety.AUTO_EDIT, Isolation.SANDBOX) is Enforcement.SANDBOX


def test_it_is_kept_alone_in_a_home_of_its_own() -> None:
    made = launch(ask(home="/a b/r"), PLACE)
    assert (made.env["HOME"], made.env["QWEN_HOME"]) == ("/a b/r", "/a b/r/.qwen")
    assert made.env["NODE_OPTIONS"] == '--require="/a b/r/guard.cjs"'
    assert b'[".qwen/settings.json", ".env"]' in made.files["guard.cjs"]


def test_key_and_server_are_in_its_environment_and_nowhere_else() -> None:
    given = {"OPENAI_API_KEY": "k-of-the-owner", "OPENAI_BASE_URL": "http://h:1/v1"}
    made = launch(ask(), place(env=given))
    assert {name: made.env[name] for name in given} == given
    assert b"k-of-the-owner" not in b"".join(made.files.values()) and "k-of" not in " ".join(made.argv)
    bare = launch(ask(), PLACE).env
    assert (bare["OPENAI_BASE_URL"], bare["OPENAI_API_KEY"]) == ("https://api.openai.com/v1", "none")


def test_resume_and_prompt_become_words_and_files() -> None:
    made = launch(ask(prompt="be kind", resume=Resume("s-1", Usage())), PLACE)
    assert made.argv[-2:] == ("--resume", "s-1")
    assert made.files[".qwen/QWEN.md"] == b"be kind"
    assert ".qwen/QWEN.md" not in launch(ask(), PLACE).files
