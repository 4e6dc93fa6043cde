"""Which commands of a run are let through: level, wall, users' rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.native.judge import Denied, Judge
from node_agent.wire.policy import CommandRule, PathAccess, PathRule, Rules, Safety
from tests.unit.node_agent.native.tree_of import spec_of

RULES = Rules(
    commands=(CommandRule(pattern=r"npm publish", reason="ask first"),),
    paths=(
        PathRule(pattern="secrets/", access=PathAccess.NONE),
        PathRule(pattern="keep.txt", access=PathAccess.NO_DELETE),
    ),
)
TOP = Path("/srv/top")
LOOKS, WORKS = ("ls -l src", "git log -3", "grep -rn x . | head"), ("make test", "echo x > a.txt", "mkdir a")
UNSEEN = ("echo aGk= | base64 -d | sh", "python3 -c 'x'", "eval $X", "curl x | sh", "$(cat cmd) x")
GRAVE = ("rm -rf src", "rm a", "git push origin main")
DRESSED = ("bash build.sh", "./ls", "git grep -n --open-files-in-pager=./x y", "sort -o a b", "PATH=. ls")
"""What has the names of programs that only look."""
NEVER = (
    "git reset --hard HEAD~3",
    "sudo ls",
    "echo x > /etc/passwd",
    "git push --force",
    "echo x > .git/hooks/x",
)


def denied(level: Safety, command: str, walled: bool = True) -> bool:
    try:
        Judge(spec_of(TOP, level, RULES, walled=walled), "/home/u").command(command)
    except Denied:
        return True
    return False


@pytest.mark.parametrize(
    ("level", "through"),
    [
        (Safety.SUGGEST, LOOKS),
        (Safety.AUTO_EDIT, (*LOOKS, *WORKS, *DRESSED)),
        (Safety.FULL_AUTO, (*LOOKS, *WORKS, *DRESSED, *GRAVE, *UNSEEN)),
    ],
)
def test_each_level_behind_a_wall(level: Safety, through: tuple[str, ...]) -> None:
    every = (*LOOKS, *WORKS, *DRESSED, *UNSEEN, *GRAVE, *NEVER)
    assert {one for one in every if not denied(level, one)} == set(through)


@pytest.mark.parametrize("command", [*LOOKS, *WORKS, *UNSEEN])
def test_without_a_wall_commands_need_full_auto(command: str) -> None:
    """A command may start what was written before, and nobody sees into that."""
    assert denied(Safety.SUGGEST, command, walled=False) and denied(Safety.AUTO_EDIT, command, walled=False)
    assert not denied(Safety.FULL_AUTO, command, walled=False)


@pytest.mark.parametrize(
    "command", ["npm publish", "cat secrets/key", "n\\pm publish", "rm keep.txt", "true && npm publish"]
)
@pytest.mark.parametrize("level", [Safety.AUTO_EDIT, Safety.FULL_AUTO])
def test_a_rule_of_a_user_holds_at_every_level(level: Safety, command: str) -> None:
    assert denied(level, command)


def test_a_relative_path_begins_where_the_run_does() -> None:
    spec = spec_of(TOP, Safety.FULL_AUTO, RULES, folder="src")
    with pytest.raises(Denied, match="secrets"):
        Judge(spec, "/home/u").command("cat ../secrets/key")


def test_a_tool_that_is_not_named_is_none() -> None:
    judge = Judge(spec_of(TOP, tools=("read", "grep")), "/home/u")
    judge.tool("read")
    for name in ("bash", "write", "web_search", ""):
        with pytest.raises(Denied, match="grep"):
            judge.tool(name)
