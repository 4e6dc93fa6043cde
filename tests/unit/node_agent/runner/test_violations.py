"""Tool calls against the policy of a run: what is told, what is counted, what ends it."""

from __future__ import annotations

import pytest

from node_agent.policy.judging import Where
from node_agent.runner.violations import SHOWN, Violations
from node_agent.runtimes.base import ToolCall
from node_agent.runtimes.outcome import shell_call
from node_agent.wire.policy import (
    ActionClass,
    CommandRule,
    PathAccess,
    PathRule,
    Policy,
    Rules,
    Safety,
    compile_policy,
    with_rules,
)

RULES = Rules(
    paths=(PathRule(pattern=".env", access=PathAccess.NONE),),
    commands=(CommandRule(pattern="terraform"),),
)


def held(read_only: bool = False, policy: Policy | None = None) -> Violations:
    return Violations(
        policy or compile_policy(Safety.AUTO_EDIT, read_only, rules=RULES), Where("/w/tree", "/home/run")
    )


def test_a_command_after_a_question_is_told_and_ends_nothing() -> None:
    rules = Rules(commands=(CommandRule(pattern="push", ask=True), CommandRule(pattern="terraform")))
    policy = compile_policy(Safety.FULL_AUTO, False, rules=rules)
    for asks, command, ends in (
        (True, "git push", False),
        (True, "terraform apply && git push", True),
        (False, "git push", True),
    ):
        one = Violations(policy, Where("/w/tree", "/home/run"), asks)
        one.take(shell_call("Bash", command), ran=True)
        assert (one.violation is not None) is ends and one.words()


def test_what_a_user_has_allowed_is_told_of_no_more() -> None:
    rules = Rules(commands=(CommandRule(pattern="push", ask=True), CommandRule(pattern="terraform")))
    policy = compile_policy(Safety.FULL_AUTO, False, rules=rules)

    def allowed(command: str, pattern: str) -> bool:
        return (command, pattern) in {("git push", "push"), ("terraform apply", "push")}

    for command, told in (("git push", False), ("git push -f", True), ("terraform apply", True)):
        one = Violations(policy, Where("/w/tree", "/home/run"), True, allowed)
        one.take(shell_call("Bash", command), ran=True)
        assert bool(one.words()) is told, command


def tool(action: ActionClass, *paths: str) -> ToolCall:
    return ToolCall("Tool", action, " ".join(paths), paths=paths)


def test_a_rule_broken_for_sure_ends_the_run_by_the_first_of_them() -> None:
    one = held()
    one.take(tool(ActionClass.FILE_READ, "/w/tree/src/a.py"), ran=True)
    assert one.words() == () and one.violation is None
    one.take(tool(ActionClass.FILE_READ, "/w/tree/sub/.env"), ran=True)
    one.take(shell_call("Bash", "terraform apply"), ran=True)
    assert one.violation == "read sub/.env: rule none: .env"
    assert one.words() == (
        "let through: read sub/.env: rule none: .env",
        "let through: terraform apply: rule command: terraform",
    )


def test_what_was_only_asked_for_is_told_and_ends_nothing() -> None:
    one = held()
    one.take(shell_call("Bash", "cat .env"), ran=False)
    assert one.violation is None
    assert one.words() == ("asked for: read .env: rule none: .env",)


def test_what_the_level_forbids_is_told_once_and_counted() -> None:
    one = held()
    for number in range(5):
        one.take(shell_call("Bash", f"git push origin b{number}"), ran=True)
    one.take(ToolCall("Strange", ActionClass.UNKNOWN), ran=True)
    assert one.violation is None
    assert one.all_words() == (
        "let through: git push origin b0: git_push is not allowed in this run",
        "let through: Strange: unknown is not allowed in this run",
        "and 4 more calls that are git_push",
    )


@pytest.mark.parametrize("tool", ["dispatch", "fleet_dispatch", "mcp__fleet__dispatch"])
def test_a_call_of_a_fleet_tool_that_the_job_offers_is_no_finding(tool: str) -> None:
    policy = compile_policy(Safety.SUGGEST, False)
    one = Violations(policy, Where(), fleet=frozenset({"dispatch"}))
    one.take(ToolCall(tool, ActionClass.UNKNOWN), ran=True)
    assert one.all_words() == ()
    other = Violations(policy, Where())
    other.take(ToolCall(tool, ActionClass.UNKNOWN), ran=True)
    assert len(other.all_words()) == 1


def test_a_reader_may_look_through_a_shell_and_no_more() -> None:
    one = held(read_only=True)
    for command in ("ls -la | head", "git log 2>/dev/null", "bash -c 'cat a.py'", "find . -name '*.py'"):
        one.take(shell_call("shell", command), ran=True)
    assert one.words() == ()
    for command in ("git stash", "echo x > a", "find . -exec touch {} ';'", "make"):
        again = held(read_only=True)
        again.take(shell_call("shell", command), ran=True)
        assert len(again.words()) == 1, command


def test_a_flood_is_bounded() -> None:
    one = held()
    for number in range(SHOWN + 30):
        one.take(tool(ActionClass.FILE_READ, f"d{number}/.env"), ran=True)
    assert len(one.words()) == SHOWN
    assert one.all_words()[-1] == "and 30 more calls that rules forbid"


def test_the_owners_rules_count_too() -> None:
    policy = with_rules(compile_policy(Safety.AUTO_EDIT, False), RULES)
    one = held(policy=policy)
    one.take(shell_call("Bash", "cat .env"), ran=True)
    assert one.violation is not None
