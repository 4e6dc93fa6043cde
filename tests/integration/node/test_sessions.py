"""A real node agent keeps a session, and gives it to a later run at the same place, in its sandbox."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job, Resumed
from tests.fakemodel import FakeModel, preset
from tests.integration.node.gateway_world import KEY, GatewayWorld

REMEMBERS = """\
import json, os, re, sys
if sys.argv[1:] == ["--version"]:
    print("2.1.328 (Claude Code)")
    sys.exit()
if sys.argv[1:] == ["auth", "status"]:
    print(json.dumps({"loggedIn": True}))
    sys.exit()
slug = re.sub("[^A-Za-z0-9]", "-", os.getcwd())
file = os.path.join(os.environ["CLAUDE_CONFIG_DIR"], "projects", slug, "s-1.jsonl")
before = open(file).read() if "--resume" in sys.argv else ""
os.makedirs(os.path.dirname(file), exist_ok=True)
told = before + sys.stdin.read().splitlines()[-1] + ";"
open(file, "w").write(told)
usage = {"input_tokens": 1, "output_tokens": 1}
print(json.dumps({"type": "result", "subtype": "success", "result": told, "session_id": "s-1", "usage": usage,
                  "total_cost_usd": 0.5 * told.count(";"), "num_turns": 1, "is_error": False}))
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GatewayWorld]:
    program = tmp_path / "installed/bin/claude"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\n{REMEMBERS}")
    program.chmod(0o755)
    with FakeModel({**preset("text"), "api_key": KEY}) as model:
        one = GatewayWorld(tmp_path, model, "claude", f"{program.parent}:{os.defpath}")
        one.begin()
        yield one
        one.end()


def asked(world: GatewayWorld, run: str, task: str, of: str = "", **more: Any) -> Job:
    resume = Resumed(run=of, session="s-1") if of else None
    return world.job(task, run=run, runtime="claude", resume=resume, **more)


def test_each_run_goes_on_where_the_one_before_ended(world: GatewayWorld) -> None:
    first = world.run(asked(world, "r-first", "plum"))
    assert (first.outcome, first.answer, first.session) == (Outcome.DONE, "plum;", "s-1"), first.reason
    second = world.run(asked(world, "r-second", "pear", "r-first", setup=(("true",),)))
    assert (second.outcome, second.answer) == (Outcome.DONE, "plum;pear;"), second.reason
    third = world.run(asked(world, "r-third", "fig", "r-second"))
    assert third.answer == "plum;pear;fig;", third.reason
    costs = [one.claimed.cost_usd if one.claimed else one.usage.cost_usd for one in (first, second, third)]
    assert [float(cost or 0) for cost in costs] == [0.5] * 3, "what this run added"
    assert sorted(os.listdir(world.home.root / "sessions")) == ["r-first", "r-second", "r-third"]
    assert not (world.home.root / f"work/.given/{third.identity}").is_symlink(), "the place is free again"
    gone = world.run(asked(world, "r-fourth", "kiwi", "r-nobody"))
    assert (gone.outcome, gone.failure) == (Outcome.ERROR, FailureKind.CANNOT_START)
    assert "pancode runs retry r-nobody" in gone.reason and gone.usage.cost_usd == 0
