"""How a run on Claude's Agent SDK is started: with what logs Claude's program in, and our spec."""

from __future__ import annotations

from node_agent.runtimes.base import Resume
from node_agent.runtimes.claude_sdk.runtime import PROBE, launch
from node_agent.runtimes.vendors import VENDORS, local_way
from node_agent.runtimes.workerspec import WorkerSpec
from node_agent.wire.job import Limits, Reasoning
from node_agent.wire.receipt import Usage
from tests.unit.node_agent.runtimes.asked import LIMITS, ask, place

KEYS = {"ANTHROPIC_API_KEY": "key-of-anthropic", "ANTHROPIC_BASE_URL": "http://127.0.0.1:7"}


def told(**asked: object) -> WorkerSpec:
    return WorkerSpec.model_validate_json(launch(ask(**asked), place(env=KEYS)).files["native.json"])


def test_it_names_the_driver_and_has_a_folder_of_settings_of_its_own() -> None:
    made = launch(ask(task="the task", prompt="the prompt"), place(env=KEYS, package="/p", libraries="/l"))
    assert made.argv[-6:] == (
        *("/p/sdk/program.py", "/p", "/l", "/node/homes/r/native.json"),
        *("claude-sdk", "claude_sdk.py"),
    )
    assert KEYS.items() <= made.env.items() and made.env["CLAUDE_CONFIG_DIR"] == "/node/homes/r/claude"
    assert made.files["prompt.md"] == b"the prompt" and "claude/.keep" in made.files
    assert b"key-of" not in b"".join(made.files.values()) and made.stdin == b"Task:\nthe task\n"


def test_what_logs_it_in_is_out_of_the_reach_of_its_commands() -> None:
    spec = told()
    assert set(KEYS) < set(spec.hidden) and "CLAUDE_CODE_OAUTH_TOKEN" in spec.hidden
    assert (spec.model, spec.is_hosted, told(model="opus").model) == ("", True, "opus")


def test_thinking_turns_and_session_are_told() -> None:
    limits = Limits(**{**LIMITS.model_dump(), "turns": 7, "requests": 9})
    assert (told().turns, told(limits=limits).turns) == (None, 7)
    assert told(limits=limits.model_copy(update={"wrap_up": True})).turns is None
    assert (told().thinks, told(reasoning=Reasoning.XHIGH).thinks) == ("", "xhigh")
    made = launch(ask(reasoning=Reasoning.OFF), place(env=KEYS))
    assert made.env["MAX_THINKING_TOKENS"] == "0"
    assert told(resume=Resume("abc", Usage())).resume == "abc"


def test_its_vendor_is_that_of_claude_code() -> None:
    assert VENDORS["claude-sdk"] == VENDORS["claude"]
    near = local_way("claude-sdk", "qwen3:8b", "http://127.0.0.1:8080", "")
    assert near is not None and near.url == "ANTHROPIC_BASE_URL"
    missing = PROBE.read([(None, ""), (0, "")])
    assert "pip install 'claude-agent-sdk==0.2.*'" in missing.fix and "~/.local/bin/claude-sdk" in missing.fix
