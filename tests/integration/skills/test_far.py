"""On a node: our program runs by that node's own Python, and asks for bytes only where something is new."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from pancode.fleet.ssh.remote import Completed
from pancode.kernel.errors import UnavailableError
from pancode.skills.copy_requests import SkillsAsked
from pancode.skills.node_copies import act_on, answer_of
from pancode.skills.node_service import act_there
from tests.unit.pancode.skills.test_copies import CLAUDE, TEXT, found, states


class Beside:
    """`Remote`, on this machine in another home; `sent`: the bytes of each round trip."""

    def __init__(self, home: Path, path: str) -> None:
        self.env = {"HOME": str(home), "PATH": path}
        self.sent: list[int] = []

    async def run(self, argv: Sequence[str], timeout_s: float, stdin: bytes = b"") -> Completed:
        self.sent.append(len(stdin))
        done = subprocess.run(
            argv, env=self.env, input=stdin, capture_output=True, timeout=timeout_s, check=False
        )
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)


def on(home: Path, asked: SkillsAsked, path: str = os.environ["PATH"]) -> tuple[dict[str, str], int]:
    beside = Beside(home, path)
    answer = asyncio.run(act_on(beside, "node1", "/nowhere", asked))  # type: ignore[arg-type]
    return states(answer), len(beside.sent)


def test_one_round_trip_where_nothing_is_new(tmp_path: Path) -> None:
    asked = SkillsAsked("sync", time="t1", found=found())
    assert on(tmp_path, asked) == (dict.fromkeys(("claude", "agents", "antigravity"), "missing"), 2)
    assert (tmp_path / CLAUDE).read_text() == TEXT
    assert on(tmp_path, asked) == (dict.fromkeys(("claude", "agents", "antigravity"), "same"), 1)
    assert on(tmp_path, SkillsAsked("remove"))[1] == 1
    assert list(tmp_path.iterdir()) == []


def test_a_node_without_python_and_one_with_a_damaged_manifest_say_so(tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("sh", "cat", "tr", "grep", "readlink"):
        (bare / name).symlink_to(f"/usr/bin/{name}")
    with pytest.raises(UnavailableError, match="Python not found"):
        on(tmp_path, SkillsAsked("status", found=found()), str(bare))
    (tmp_path / ".pancode-skills").mkdir()
    (tmp_path / ".pancode-skills/manifest.json").write_text("{")
    with pytest.raises(UnavailableError, match="cannot manage the copies") as failed:
        on(tmp_path, SkillsAsked("status", found=found()))
    assert "damaged" in failed.value.why


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[]",
        "{}",
        '{"rows": 7}',
        '{"rows": [7]}',
        '{"rows": [{"folder": 1, "skill": "x"}]}',
        '{"rows": [{"folder": "a", "skill": "x"}]}',
        '{"rows": [{"folder": "a", "skill": "x", "state": "same", "files": []}]}',
        '{"need": 7}',
        '{"need": [7]}',
        '{"error": {}}',
    ],
)
def test_a_node_that_says_anything_else_has_failed(said: str) -> None:
    with pytest.raises(UnavailableError, match="cannot manage"):
        answer_of("node1", 0, said.encode(), b"")


def test_one_that_never_came_up_has_its_problem_in_its_row() -> None:
    (row,) = act_there({"gpubox": {"target": {}, "pins": {}}}, SkillsAsked("status"), dict(os.environ))
    assert row["problem"]["fix"] == "pancode fleet up gpubox"
