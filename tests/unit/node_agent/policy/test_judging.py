"""A command or the use of a path against a policy: by rules, and by the level."""

from __future__ import annotations

import pytest

from node_agent.policy.commands.programs import Use
from node_agent.policy.judging import Where, judge_action, judge_command, judge_path, list_refusals, to_ask
from node_agent.policy.rulefile import read_rules
from node_agent.wire.policy import (
    ActionClass,
    CommandRule,
    PathAccess,
    PathRule,
    Policy,
    Rules,
    Safety,
    compile_policy,
)

RULES = Rules(
    paths=(
        PathRule(pattern=".env", access=PathAccess.NONE, reason="keys", origin="your pansafety.yaml:1"),
        PathRule(pattern="~/.ssh", access=PathAccess.NONE),
        PathRule(pattern="*.lock", access=PathAccess.READ),
        PathRule(pattern="./README.md", access=PathAccess.NO_DELETE),
    ),
    commands=(CommandRule(pattern=r"\brm\s+-rf", reason="no"),),
)
POLICY = compile_policy(Safety.AUTO_EDIT, False, rules=RULES)
HERE = Where("/w/tree", "/home/u")
BELOW = Where("/w/tree", "/home/u", "web/app")


def test_relative_paths_begin_where_the_run_began() -> None:
    assert [
        BELOW.placed(path) for path in ("x", "../x", "../../x", "../../../x", "/w/tree/x", "~/x", "/x")
    ] == [*("web/app/x", "web/x", "x", "../x", "x", "~/x", "/x")]
    readme = "rm ../../README.md"
    by_rule = [
        [one for one in judge_command(POLICY, readme, at).offences if not one.of_level]
        for at in (BELOW, HERE)
    ]
    assert [len(offences) for offences in by_rule] == [1, 0]


@pytest.mark.parametrize(
    ("command", "ends"),
    [
        ("cat .env", True),
        ("cat sub/../.env", True),
        ("cat /w/tree/sub/.env", True),
        ("cat .e*", True),
        ("cat $HOME/.ssh/id", True),
        ("cat /home/u/.ssh/id", True),
        ("touch a.lock", True),
        ("r\\m   -rf x", True),
        ("mv README.md x", False),
        ("grep .env x", False),
        ("git push", False),
        ("cat a.lock", None),
        ("echo hi > README.md", None),
        ("cat /elsewhere/.env.sample", None),
    ],
)
def test_what_is_said_to_a_command(command: str, ends: bool | None) -> None:
    offences = judge_command(POLICY, command, HERE).offences
    assert (max(one.ends for one in offences) if offences else None) is ends


@pytest.mark.parametrize(
    ("level", "command", "asks", "denies"),
    [
        (Safety.FULL_AUTO, "git push origin x", ["push"], True),
        (Safety.FULL_AUTO, "make && git push | tee log", ["push"], True),
        (Safety.FULL_AUTO, "npm publish; git push", ["push", "publish"], True),
        (Safety.FULL_AUTO, "make", [], False),
        (Safety.FULL_AUTO, "git push --dry-run > .env", [], True),  # a rule that denies is not asked about
        (Safety.FULL_AUTO, "git push && rm -rf x", [], True),
        (Safety.AUTO_EDIT, "git push origin x", [], True),  # a yes would be against the level
        (Safety.AUTO_EDIT, "npm publish", ["publish"], True),
    ],
)
def test_a_user_is_asked_only_where_a_yes_would_help(
    level: Safety, command: str, asks: list[str], denies: bool
) -> None:
    rules = [CommandRule(pattern=word, ask=True) for word in ("push", "publish")]
    more = RULES.model_copy(update={"commands": (*RULES.commands, *rules)})
    policy = compile_policy(level, False, rules=more)
    said = judge_command(policy, command, HERE)
    assert [rule.pattern for rule in to_ask(policy, said)] == asks
    assert bool(list_refusals(policy, said)) is denies


@pytest.mark.parametrize(
    ("level", "command", "asks", "denies"),
    [
        (Safety.FULL_AUTO, "git push origin x", ["class:push"], True),
        (Safety.FULL_AUTO, "g=git; make && sh -c 'git push'", ["class:push"], True),
        (Safety.FULL_AUTO, "rm -rf build", ["class:destructive"], True),
        (Safety.FULL_AUTO, "rm -rf build && git push", ["class:destructive", "class:push"], True),
        (Safety.FULL_AUTO, "$(echo git) push", ["class:destructive", "class:push"], True),
        (Safety.FULL_AUTO, "make test | tee log", [], False),
        (Safety.AUTO_EDIT, "make test", [], False),
        (Safety.AUTO_EDIT, "git push", [], True),  # a yes would be against the level
        (Safety.SUGGEST, "rm -rf build", [], True),
    ],
)
def test_classes_of_commands_wait_for_a_user(
    level: Safety, command: str, asks: list[str], denies: bool
) -> None:
    classes = read_rules({"ask": ["destructive", "push"]}, lambda path: path)
    said = judge_command(policy := compile_policy(level, False, rules=classes), command, HERE)
    assert [rule.pattern for rule in to_ask(policy, said)] == asks
    assert bool(list_refusals(policy, said)) is denies


def test_a_users_own_gate_that_cannot_be_read_is_no_push() -> None:
    (rule,) = read_rules({"ask": ["push"]}, lambda path: path).commands
    gates = Policy(allowed=tuple(ActionClass), commands=(rule,))
    assert not judge_command(gates, "$CHECK all").offences and judge_command(gates, "git push").offences
    assert CommandRule.model_validate_json(rule.model_dump_json()) == rule
    assert "classes" not in CommandRule(pattern="x").model_dump()


def test_the_words_name_rule_origin_and_reason() -> None:
    (said,) = judge_command(POLICY, "cat .env", HERE).offences
    assert said.words == "read .env: rule none: .env (your pansafety.yaml:1): keys"
    by_rule, by_level = judge_command(POLICY, "rm -rf x", HERE).offences
    assert by_rule.words == r"rm -rf x: rule command: \brm\s+-rf: no"
    assert by_level.words == "rm -rf x: shell_destructive is not allowed in this run"


@pytest.mark.parametrize(
    ("path", "use", "action", "count"),
    [
        ("a.py", Use.WRITE, ActionClass.FILE_WRITE, 0),
        ("a.py", Use.DELETE, ActionClass.FILE_DELETE, 1),
        (".env", Use.READ, ActionClass.FILE_READ, 1),
        ("README.md", Use.WRITE, ActionClass.FILE_WRITE, 0),
        ("README.md", Use.DELETE, ActionClass.FILE_DELETE, 2),
        ("/w/tree/.git/config", Use.WRITE, ActionClass.GIT_DESTRUCTIVE, 1),
        ("/etc/passwd", Use.WRITE, ActionClass.SYSTEM, 1),
        ("/etc/passwd", Use.READ, ActionClass.FILE_READ, 0),
    ],
)
def test_what_is_said_to_a_path(path: str, use: Use, action: ActionClass, count: int) -> None:
    said = judge_path(POLICY, path, use, HERE)
    assert (said.action, len(said.offences)) == (action, count)


def test_a_level_alone_says_no_without_ending_anything() -> None:
    reader = compile_policy(Safety.AUTO_EDIT, True)
    (said,) = judge_path(reader, "a.py", Use.WRITE).offences
    assert not said.ends
    assert judge_action(reader, ActionClass.UNKNOWN, "a tool").offences
    assert not judge_action(reader, ActionClass.NETWORK, "a tool").offences
    assert judge_command(compile_policy(Safety.SUGGEST, False), "ls").offences


def test_a_rule_holds_in_what_is_not_whole_too() -> None:
    offences = judge_command(POLICY, "rm -rf x; (", HERE).offences
    assert any(one.ends for one in offences)
