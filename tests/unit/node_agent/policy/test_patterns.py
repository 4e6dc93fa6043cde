"""Which paths a pattern covers, and that no pattern and no path makes the answer slow or wrong."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.policy.patterns import (
    could_hold,
    find_strictest,
    is_covering,
    is_matching,
    is_plain,
    pattern_fault,
)
from node_agent.wire.policy import PathAccess, PathRule


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        (".env", (".env", "a/.env", ".env/x"), (".env.local", "x.env", "/.env")),
        ("*.pem", ("a.pem", "d/e/.pem"), ("a.pem.txt", "pem")),
        ("dist/", ("dist", "dist/a", "x/dist/a"), ("distr", "dist.py")),
        ("./Makefile", ("Makefile", "./Makefile", "a/../Makefile"), ("sub/Makefile",)),
        ("config/prod.yaml", ("config/prod.yaml",), ("x/config/prod.yaml", "config/prod.yml")),
        ("src/**/*.sql", ("src/a.sql", "src/x/y/a.sql"), ("a.sql", "srcs/a.sql")),
        ("db/**", ("db", "db/a", "db/a/b"), ("dbs",)),
        ("a/?.py", ("a/b.py",), ("a/bb.py", "a/b/.py")),
        ("[id].tsx", ("p/[id].tsx",), ("p/i.tsx",)),
        ("/etc/", ("/etc/passwd", "/etc"), ("etc/passwd", "/etcetera")),
        ("~/.ssh", ("~/.ssh/id", "~/.ssh"), (".ssh/id", "/root/.ssh/id")),
        ("*/*", ("a/b", "a/b/c"), ("a",)),
    ],
)
def test_what_a_pattern_covers(pattern: str, inside: tuple[str, ...], outside: tuple[str, ...]) -> None:
    assert pattern_fault(pattern) is None
    assert [path for path in inside if not is_covering(pattern, path)] == []
    assert [path for path in outside if is_covering(pattern, path)] == []


def test_the_home_is_the_same_place_under_both_of_its_names() -> None:
    assert is_covering("~/.ssh", "/home/u/.ssh/id", "/home/u")
    assert is_covering("/home/u/.ssh", "~/.ssh/id", "/home/u")
    assert not is_covering("~/.ssh", "/home/v/.ssh/id", "/home/u")


@pytest.mark.parametrize(
    "pattern", ["", " a", "../x", "a/../b", "~root/x", "a\nb", "/", "./", "~/", "\ud800"]
)
def test_what_is_no_pattern(pattern: str) -> None:
    assert pattern_fault(pattern)


def test_a_link_in_the_place_of_a_folder_above() -> None:
    assert could_hold("config/prod.yaml", "config")
    assert could_hold("a/**/x", "a/b/c")
    assert not could_hold("config/prod.yaml", "conf")
    assert not could_hold(".env", "config"), "it could lie anywhere, which says nothing of this folder"


@pytest.mark.parametrize(
    ("pattern", "plain"), [("./a", True), ("/etc/x", True), ("a/b", True), (".env", False), ("a/*", False)]
)
def test_what_one_mount_can_be_laid_over(pattern: str, plain: bool) -> None:
    assert is_plain(pattern) is plain


def test_the_strictest_rule_counts() -> None:
    rules = [
        PathRule(pattern=pattern, access=access)
        for pattern, access in (("a", PathAccess.NO_DELETE), ("a/b", PathAccess.NONE), ("*", PathAccess.READ))
    ]
    assert find_strictest(rules, "a/b/c") == rules[1]
    assert find_strictest(rules, "a/c") == rules[2]
    assert find_strictest(rules[:2], "c") is None


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
def test_one_step_fits_as_a_shell_would_say(pattern: str, name: str) -> None:
    said = re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), name)
    assert is_matching(pattern, name) is (said is not None)


def test_a_hostile_pattern_is_answered_at_once() -> None:
    assert not is_matching("*a" * 100 + "b", "a" * 20_000)
    assert not is_covering("**/a/" * 60 + "b", "a/" * 2_000 + "c")


@given(st.text("ab*/.~", min_size=1, max_size=12), st.text("ab/.~", max_size=12))
def test_every_pattern_has_an_answer(pattern: str, path: str) -> None:
    if pattern_fault(pattern) is None and is_covering(pattern, path):
        assert is_covering(pattern, f"{path}/below") or path in ("", ".", "/")
