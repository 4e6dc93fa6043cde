"""What only our own worker does: its key is out of reach of what it starts, its tools are the job's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import Safety
from tests.clis.conftest import MakeBench
from tests.clis.hands import HANDS, call
from tests.clis.launched import NATIVE, first_request, names
from tests.peeking import PEEK, WITHOUT_POWERS

pytestmark = pytest.mark.slow

DONE = {"text": "Done: the work is finished.", "usage": {"input": 1200, "output": 34, "cache_read": 500}}
KEY = "k-of-the-owner"


@pytest.fixture
def bench(make_bench: MakeBench) -> Any:
    return partial(make_bench, NATIVE)


def test_a_command_finds_the_key_neither_in_its_variables_nor_in_those_of_the_worker(
    bench: Any, tmp_path: Path
) -> None:
    look = HANDS["native"].shell("env; tr '\\0' '\\n' < /proc/$PPID/environ; echo looked")
    b, model = bench({"turns": [look, DONE]})
    verdict = b.run(b.request(safety=Safety.FULL_AUTO))
    assert verdict.failure is None, verdict.reason
    heard = "".join(path.read_text() for path in (tmp_path / "d").iterdir())
    assert "looked" in heard and "TMPDIR=" in heard, "it did look"
    assert KEY not in heard and "OPENAI_BASE_URL" not in heard.replace("OPENAI_BASE_URL=*", "")
    assert {r["auth"] for r in model.requests if "wire" in r} == {"authorization"}, "and the key was used"


def test_a_command_cannot_look_into_the_worker(bench: Any, tmp_path: Path) -> None:
    """Nor may one that is no child of it: the worker belongs to the same user as all that runs here."""
    look = HANDS["native"].shell(f"{sys.executable} ../peek.py {KEY[::-1]} $PPID $$; true")
    b, _ = bench({"turns": [look, DONE]})
    (b.root / "peek.py").write_text(PEEK)
    b.prefix = WITHOUT_POWERS
    assert b.run(b.request(safety=Safety.FULL_AUTO)).failure is None
    heard = "".join(path.read_text() for path in (tmp_path / "d").iterdir())
    assert re.findall(r"peeked \d+ (\w+)", heard)[:2] == ["denied", "False"], "it did look"


def test_it_has_the_tools_of_its_job_and_no_others(bench: Any, tmp_path: Path) -> None:
    b, _ = bench({"turns": [HANDS["native"].write("${cwd}/x", "x"), DONE]})
    verdict = b.run(replace(b.request(), tools=("read", "ls")))
    assert verdict.failure is F.TOOL_DENIED and names(b.work) == [".git", "notes.txt"]
    offered = [tool["function"]["name"] for tool in first_request(tmp_path)["tools"]]
    assert offered == ["read", "ls", "changes"], "who reads without a shell reads the history, too"


@pytest.mark.parametrize(
    "look",
    [call("read", path=".pancode/inputs/build.diff"), call("changes", what="show")],
    ids=["file", "tool"],
)
def test_a_reviewer_that_is_given_the_change_can_judge_it(bench: Any, look: dict[str, Any]) -> None:
    """The model answers only when the diff was among what it was given; the tree alone does not show it."""
    sees = {"name": "sees", "if": {"heard": r"-beta\n\+BETA"}, "turns": [{"text": "FINDING: BETA"}]}
    blind = {"name": "blind", "turns": [look, {"text": "I see no change."}]}
    b, _ = bench({"rules": [sees, blind]})
    (b.work / "notes.txt").write_text("alpha\nBETA\ngamma\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "commit", "-qam", "the change"], cwd=b.work, check=True)
    (b.work / ".pancode" / "inputs").mkdir(parents=True)
    patch = subprocess.run([*git, "diff", "HEAD~1", "HEAD"], cwd=b.work, check=True, capture_output=True)
    (b.work / ".pancode" / "inputs" / "build.diff").write_bytes(patch.stdout)
    request = replace(b.request(read_only=True), tools=("read", "grep", "find", "ls"))
    verdict = b.run(request)
    assert verdict.failure is None and verdict.answer.startswith("FINDING: BETA"), verdict


def test_its_report_tells_what_was_changed(bench: Any) -> None:
    hands = HANDS["native"]
    b, _ = bench({"turns": [hands.write("${cwd}/a/new.txt", "x"), hands.shell("touch b"), DONE]})
    verdict = b.run(b.request(safety=Safety.FULL_AUTO))
    told = "Scope: the whole checkout, writing\nFiles changed: a/new.txt; 1 command may have changed others"
    assert verdict.answer == f"Done: the work is finished.\n\n{told}"
    final = json.loads((b.home / "out").read_text().splitlines()[-1])
    assert final["type"] == "final" and final["report"]["files"] == ["a/new.txt"]


def test_the_repository_tells_it_nothing(bench: Any, tmp_path: Path) -> None:
    b, _ = bench({"turns": [HANDS["native"].shell("echo ${THEIRS:-none} > told"), DONE]})
    for name in ("AGENTS.md", "sitecustomize.py", ".env", "pydantic.py", "httpx2.py"):
        (b.work / name).write_text("raise SystemExit('WORDS-OF-THE-REPOSITORY')\nTHEIRS=1\n")
    assert b.run(b.request(safety=Safety.FULL_AUTO)).failure is None
    assert (b.work / "told").read_text() == "none\n"
    assert "WORDS-OF-THE-REPOSITORY" not in json.dumps(first_request(tmp_path))
