"""Both forms of a pansafety.yaml, and that nothing in it is ever skipped."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.policy.patterns import has_match, regex_fault
from node_agent.policy.rulefile import RuleError, merge_rules, read_rules
from node_agent.wire.policy import MOST_RULES, CommandRule, NetworkAccess, PathAccess, PathRule, Rules

RULE = {"pattern": ".env", "type": "path", "action": "no-access", "reason": "keys"}


def rules(**data: Any) -> Rules:
    return read_rules(data, lambda path: f"f:{path}")


def test_the_legacy_form() -> None:
    said = rules(
        bashToolPatterns=[{"pattern": r"\bdrop\s+table", "reason": "the\ndata"}],
        zeroAccessPaths=["~/.ssh/"],
        readOnlyPaths=["*.lock"],
        noDeletePaths=["README.md"],
    )
    assert said.commands == (
        CommandRule(pattern=r"\bdrop\s+table", reason="the data", origin="f:bashToolPatterns.0"),
    )
    assert [(rule.pattern, rule.access) for rule in said.paths] == [
        ("~/.ssh/", PathAccess.NONE),
        ("*.lock", PathAccess.READ),
        ("README.md", PathAccess.NO_DELETE),
    ]


def test_the_unified_form_and_both_in_one_file() -> None:
    command = {"pattern": "mkfs", "type": "bash", "action": "deny"}
    said = rules(rules=[RULE, command, {**RULE, "action": "deny"}], readOnlyPaths=["a"], noDeletePaths=None)
    assert [rule.access for rule in said.paths] == [PathAccess.READ, PathAccess.NONE, PathAccess.READ]
    assert said.paths[1] == PathRule(
        pattern=".env", access=PathAccess.NONE, reason="keys", origin="f:rules.0"
    )
    assert [rule.pattern for rule in said.commands] == ["mkfs"]
    (asks,) = rules(rules=[{**command, "action": "ask"}]).commands
    assert asks.ask and not said.commands[0].ask


@pytest.mark.parametrize(
    ("data", "path", "words"),
    [
        ({"rule": []}, "rule", "rules?"),
        ({"readonlyPaths": []}, "readonlyPaths", "readOnlyPaths?"),
        ({"rules": {}}, "rules", "must be a list"),
        ({"ask": ["pushes"]}, "ask.0", "push?"),
        ({"ask": "push"}, "ask", "must be a list"),
        ({"rules": ["x"]}, "rules.0", "mapping of keys to values"),
        ({"rules": [{**RULE, "patern": "x"}]}, "rules.0.patern", "pattern?"),
        ({"rules": [{**RULE, "action": "no-acces"}]}, "rules.0.action", "no-access?"),
        ({"rules": [{**RULE, "action": ["deny"]}]}, "rules.0.action", "not one of"),
        ({"rules": [{**RULE, "action": "ask"}]}, "rules.0.action", "action ask is not valid for a path"),
        ({"rules": [{**RULE, "type": "file"}]}, "rules.0.type", "not one of path, bash"),
        (
            {"rules": [{**RULE, "type": "bash"}]},
            "rules.0.action",
            "a rule about commands can only deny them or require a user's approval",
        ),
        ({"rules": [{"pattern": "x", "type": "path"}]}, "rules.0", "a rule without action"),
        ({"rules": [{**RULE, "pattern": "../x"}]}, "rules.0.pattern", "leads out"),
        ({"rules": [{**RULE, "pattern": 7}]}, "rules.0.pattern", "is not a string"),
        ({"rules": [{**RULE, "reason": False}]}, "rules.0.reason", "put it in quotes"),
        ({"rules": [{**RULE, "reason": "x" * 301}]}, "rules.0.reason", "1 to 300"),
        ({"zeroAccessPaths": [{"pattern": "x"}]}, "zeroAccessPaths.0", "is not a string"),
        ({"zeroAccessPaths": ["a\x1b[2Jb"]}, "zeroAccessPaths.0", "control character"),
        ({"zeroAccessPaths": ["/"]}, "zeroAccessPaths.0", "everything"),
        ({"bashToolPatterns": [{"pattern": "("}]}, "bashToolPatterns.0.pattern", "missing )"),
        ({"bashToolPatterns": [{"pattern": "a(?!b)"}]}, "bashToolPatterns.0.pattern", "look-around"),
        ({"bashToolPatterns": [{"reason": "x"}]}, "bashToolPatterns.0", "has no pattern"),
        ({"readOnlyPaths": ["a"] * (MOST_RULES + 1)}, "", "more than"),
    ],
)
def test_what_does_not_fit_is_an_error_with_its_place(data: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(RuleError) as caught:
        rules(**data)
    assert caught.value.path == path
    assert words in f"{caught.value} {caught.value.why} {caught.value.fix}"


def test_a_list_is_no_file_of_rules() -> None:
    with pytest.raises(RuleError, match="mapping of keys to values"):
        read_rules([RULE], str)


def test_files_add_up_and_have_a_bound_together() -> None:
    one, two = rules(readOnlyPaths=["a"]), rules(readOnlyPaths=["a"], zeroAccessPaths=["a"])
    both = merge_rules(one, two)
    assert {rule.access for rule in both.paths} == {PathAccess.READ, PathAccess.NONE}
    many = rules(readOnlyPaths=[f"p{n}" for n in range(MOST_RULES)])
    with pytest.raises(RuleError, match="too many"):
        merge_rules(many, rules(readOnlyPaths=["one more"]))


def test_no_expression_is_slow_or_large() -> None:
    assert not has_match("^(a|a)*(a|a)*(a|a)*$", "a" * 100_000 + "b")
    assert regex_fault("((a{1000}){1000}){1000}")
    assert regex_fault("\ud800")
    assert has_match("(?i)RM", "sudo rm \ud800")


def test_the_network_is_the_narrowest_that_a_file_says() -> None:
    assert rules().network is None
    said = merge_rules(rules(network="gateway"), rules(network="machine"), rules())
    assert said.network is NetworkAccess.GATEWAY
    assert merge_rules(rules(), rules()).network is None
    with pytest.raises(RuleError, match="gatway"):
        rules(network="gatway")
