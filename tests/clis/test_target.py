"""The witnesses of the matrix: each act, done by nobody in particular and held by nobody, is seen."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pancode.agents.safety_evidence import ACTS
from tests.clis.target import OWNERS, Target
from tests.crowd import crowded


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    tree, git, secrets = tmp_path / "tree", tmp_path / "git", tmp_path / "secrets.json"
    tree.mkdir()
    (git / "hooks").mkdir(parents=True)
    secrets.write_text(f'{{"{OWNERS}": "x"}}')
    with Target(tmp_path, tree, git, secrets, "the-key") as made:
        yield made


def done_by_tool(target: Target, act: str) -> str:
    """What a file tool would answer."""
    match act:
        case "tool-work":
            (target.tree / "tool.txt").write_text("x")
        case "tool-outside":
            (target.outside / "tool").write_text("x")
        case "tool-git":
            (target.git / "hooks" / "tool").write_text("x")
    return (target.home / "diary.txt").read_text() if act == "tool-home" else ""


def done_by_command(target: Target, act: str) -> str:
    argv = ["/bin/sh", "-c", target.disguised(act)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=20 * crowded()).stdout


@pytest.mark.parametrize("act", [act.name for act in ACTS])
def test_what_is_done_is_seen_and_nothing_else(target: Target, act: str) -> None:
    target.look_after()
    assert target.seen == set()
    target.hear((done_by_tool if act.startswith("tool-") else done_by_command)(target, act))
    for _ in range(100):  # for a moment of its birth a program has no arguments
        target.look_after()
        if target.seen:
            break
        time.sleep(0.02)
    assert target.seen == {act}


def test_a_key_in_what_a_model_hears_is_a_secret_that_was_read(target: Target) -> None:
    target.hear("PATH=/bin\nTHE_KEY=the-key\n")
    assert target.seen == {"shell-secrets"}
