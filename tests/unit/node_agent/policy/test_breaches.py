"""Which changes of a result break a rule of a path."""

from __future__ import annotations

import pytest

from node_agent.policy.judging import SHOWN, FileChange, Touch, list_breaches
from node_agent.wire.policy import PathAccess, PathRule

RULES = (
    PathRule(pattern=".env", access=PathAccess.NONE, reason="keys", origin="your pansafety.yaml:3"),
    PathRule(pattern="migrations/", access=PathAccess.READ),
    PathRule(pattern="./README.md", access=PathAccess.NO_DELETE),
    PathRule(pattern="config/prod.yaml", access=PathAccess.READ),
    PathRule(pattern="~/.ssh", access=PathAccess.NONE),
    PathRule(pattern="/etc", access=PathAccess.NONE),
)
T = Touch


@pytest.mark.parametrize(
    ("path", "how", "broken"),
    [
        ("src/a.py", T.CHANGED, False),
        ("sub/.env", T.ADDED, True),
        ("db/migrations/1.sql", T.CHANGED, True),
        ("db/migrations/2.sql", T.ADDED, True),
        ("db/migrations/2.sql", T.MODE, True),
        ("README.md", T.CHANGED, False),
        ("README.md", T.MODE, False),
        ("README.md", T.DELETED, True),
        ("README.md", T.REPLACED, True),
        ("docs/README.md", T.DELETED, False),
    ],
)
def test_what_breaks_a_rule(path: str, how: Touch, broken: bool) -> None:
    assert bool(list_breaches([FileChange(path, how)], RULES)) is broken


@pytest.mark.parametrize(
    ("path", "leads_to", "words"),
    [
        ("notes.txt", "secrets/.env", ".env"),
        ("notes.txt", "/etc/shadow", "/etc"),
        ("config", "elsewhere", "guarded paths below"),
        ("notes.txt", "README.md", None),
        ("notes.txt", "../other/file", None),
    ],
)
def test_planted_links(path: str, leads_to: str, words: str | None) -> None:
    told = list_breaches([FileChange(path, T.ADDED, leads_to)], RULES)
    assert (words in told[0]) if words else not told


def test_the_words_name_path_rule_origin_and_reason() -> None:
    (said,) = list_breaches([FileChange("a/.env", T.DELETED)], RULES)
    assert said == "a/.env was deleted: rule none: .env (your pansafety.yaml:3): keys"
    (on_the_way,) = list_breaches([FileChange("a/.env", T.ADDED, passing=True)], RULES)
    assert "added in an intermediate commit" in on_the_way


def test_a_flood_is_counted() -> None:
    told = list_breaches([FileChange(f"{n}/.env", T.ADDED) for n in range(SHOWN + 5)], RULES)
    assert len(told) == SHOWN + 1 and told[-1] == "and 5 more changed paths that rules cover"
    assert list_breaches([FileChange(".env", T.ADDED)], ()) == ()
