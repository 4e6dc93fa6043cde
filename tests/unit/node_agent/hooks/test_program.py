"""What the hook's program answers to a call of each agent program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node_agent.hooks.program import DENIED, SPEAKING, WAIT_S, judge_event
from node_agent.machine.programs import LIBRARIES, PACKAGE
from node_agent.runtimes.hooks import PROGRAM, REFUSED, TIMEOUT_S, HookRules, build_command
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire import policy as p
from tests.unit.node_agent.runtimes.asked import ask, place

OWNERS = p.Rules(
    commands=(p.CommandRule(pattern="^terraform "),),
    paths=(p.PathRule(pattern="secret.txt", access=p.PathAccess.NONE),),
)
SHELLS = {
    "claude": "Bash",
    "codex": "Bash",
    "copilot": "bash",
    "gemini": "run_shell_command",
    "opencode": "bash",
}


def rules(runtime: str, safety: p.Safety = p.Safety.AUTO_EDIT, read_only: bool = False) -> HookRules:
    policy = p.compile_policy(safety, read_only, rules=OWNERS)
    return HookRules(runtime=runtime, policy=policy, top="/w")


def event(runtime: str, tool: str, **given: str) -> dict[str, Any]:
    if runtime == "copilot":
        return {"toolName": tool, "toolArgs": given}
    return {"tool_name": tool, "tool_input": given}


def test_every_program_with_a_hook_is_understood() -> None:
    ours = {"native", "claude-sdk", "openai-agents"}  # ask by themselves
    assert {name for name, one in RUNTIMES.items() if one.capabilities.asks_first} - ours == SPEAKING


@pytest.mark.parametrize("runtime", sorted(SHELLS))
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("pytest -q", ""),
        ("npm test 2>&1 | tail -5", ""),
        ("terraform apply", "rule command"),
        ("cat secret.txt", "rule none"),
        ("rm -rf build", "shell_destructive is not allowed"),
        ("git push", "git_push is not allowed"),
        ("git reset --hard HEAD~1", "git_destructive is not allowed"),
        ("echo cm0gLXJmIC8= | base64 -d | sh", "unknown is not allowed"),
    ],
)
def test_a_command_at_auto_edit(runtime: str, command: str, words: str) -> None:
    said = judge_event(rules(runtime), event(runtime, SHELLS[runtime], command=command), "/h")
    assert words in said if words else said == ""


def test_full_auto_may_delete_and_does_not_rewrite_history() -> None:
    free = rules("claude", p.Safety.FULL_AUTO)
    assert judge_event(free, event("claude", "Bash", command="rm -rf build"), "/h") == ""
    assert judge_event(free, event("claude", "Bash", command="python -c 'print(1)'"), "/h") == ""
    assert "git_destructive" in judge_event(free, event("claude", "Bash", command="git rebase -i x"), "/h")


def test_a_patch_of_codex_is_held_against_the_rules_for_its_paths() -> None:
    patch = "*** Begin Patch\n*** Update File: secret.txt\n+x\n*** Add File: a.txt\n+y\n*** End Patch"
    assert "rule none" in judge_event(rules("codex"), event("codex", "apply_patch", command=patch), "/h")
    assert (
        judge_event(rules("codex"), event("codex", "apply_patch", command=patch.replace("secret", "b")), "/h")
        == ""
    )


@pytest.mark.parametrize("broken", ["rules", "event"])
def test_as_a_program_it_lets_nothing_through_that_it_does_not_understand(
    tmp_path: Path, broken: str
) -> None:
    file = tmp_path / "rules.json"
    file.write_text("{}" if broken == "rules" else rules("claude").model_dump_json())
    call = "no JSON" if broken == "event" else json.dumps(event("claude", "Bash", command="ls"))
    argv = [sys.executable, "-I", "-S", f"{PACKAGE}/{PROGRAM}", PACKAGE, LIBRARIES, str(file)]
    done = subprocess.run(argv, input=call, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.startswith(REFUSED)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_hook_that_is_stopped_with_its_run_is_a_no(tmp_path: Path, shell: str, number: int) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho up\nexec sleep 60\n")
    python.chmod(0o755)
    line = build_command(ask(), place(python=str(python)))
    with subprocess.Popen([shell, "-c", line], stdout=subprocess.PIPE, start_new_session=True) as hook:
        assert hook.stdout is not None and hook.stdout.readline() == b"up\n"
        os.killpg(hook.pid, number)
        assert hook.wait(10) == DENIED


def test_it_ends_in_time_also_where_loading_it_takes_long(tmp_path: Path) -> None:
    ours = tmp_path / "node_agent" / "hooks"
    ours.mkdir(parents=True)
    (ours / "asking.py").write_text("import signal\nprint(signal.alarm(0))\nraise SystemExit(0)\n")
    argv = [sys.executable, "-I", "-S", f"{PACKAGE}/{PROGRAM}", str(ours.parent), "/l", "/r"]
    left = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    assert 0 < int(left) <= WAIT_S < TIMEOUT_S, "of seconds, before anything of ours is loaded"
