"""Recorded streams of real programs, held against rules: what went through counts, what was denied not."""

from __future__ import annotations

import pytest

from node_agent.attempt.ports import ReportedEnd
from node_agent.policy.judging import Bounds, Where
from node_agent.runner.launching import LaunchSurroundings, NodeRuntimes
from node_agent.runtimes.base import ExitInfo
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.failure import FailureKind
from node_agent.wire.policy import CommandRule, PathAccess, PathRule, Policy, Rules, Safety, compile_policy
from tests.contract.transcripts import RECORDED, output
from tests.unit.node_agent.stage import job_of

READ_ONLY = Rules(paths=(PathRule(pattern="notes.txt", access=PathAccess.READ),))
NO_COMMAND = Rules(commands=(CommandRule(pattern="."),))
AUTO_EDIT = compile_policy(Safety.AUTO_EDIT, False)


def told(runtime: str, case: str, rules: Rules, policy: Policy = AUTO_EDIT) -> ReportedEnd:
    around = LaunchSurroundings("/usr/bin", "/usr/bin/python3", dict)
    job = job_of(runtime=runtime, policy=policy, model="vendor/model")
    reader = NodeRuntimes(around).reader(job, Bounds(Where("$WORK", "$HOME"), rules))
    reader.feed(output(runtime, case))
    return reader.finish(ExitInfo(0))


@pytest.mark.parametrize("runtime", RECORDED)
def test_an_edit_that_a_rule_forbids_is_a_violation(runtime: str) -> None:
    assert RUNTIMES[runtime].capabilities.tells_ran
    said = told(runtime, "ok-edit", READ_ONLY)
    assert said.failure is FailureKind.RULE_BROKEN
    assert "notes.txt: rule read: notes.txt" in said.reason
    assert f"let through: {said.reason}" in said.findings


@pytest.mark.parametrize("runtime", RECORDED)
def test_a_command_that_a_rule_forbids_is_a_violation(runtime: str) -> None:
    said = told(runtime, "ok-shell", NO_COMMAND)
    assert said.failure is FailureKind.RULE_BROKEN and "rule command: ." in said.reason


def test_a_denied_call_is_told_while_its_program_works_and_only_once() -> None:
    around = LaunchSurroundings("/usr/bin", "/usr/bin/python3", dict)
    reader = NodeRuntimes(around).reader(job_of(runtime="claude", model="m"), Bounds(Where("$WORK", "$HOME")))
    reader.feed(output("claude", "tool-denied"))
    words = reader.spent().broken.words
    assert any(word.startswith("denied: Bash (shell) echo x > forbidden-shell.txt: ") for word in words)
    assert reader.spent().broken.ending is None
    assert reader.finish(ExitInfo(0)).findings == words


@pytest.mark.parametrize("runtime", RECORDED)
@pytest.mark.parametrize("case", ["ok-edit", "ok-text"])
def test_what_no_rule_forbids_is_no_finding(runtime: str, case: str) -> None:
    said = told(runtime, case, Rules())
    assert [finding for finding in said.findings if finding.startswith(("let through", "asked for"))] == []


@pytest.mark.parametrize("runtime", RECORDED)
@pytest.mark.parametrize("case", ["tool-denied", "shell-denied"])
def test_what_was_denied_ends_nothing(runtime: str, case: str) -> None:
    said = told(runtime, case, NO_COMMAND)
    ran_in_a_sandbox = runtime == "codex"  # its sandbox lets a command start, and stops what it does
    assert (said.failure is FailureKind.RULE_BROKEN) <= ran_in_a_sandbox
