"""What the judge of commands lets through, the real bash does not evaluate into a command."""

from __future__ import annotations

import subprocess
from pathlib import Path

from node_agent.policy.commands.reading import read_command
from node_agent.wire.policy import ActionClass
from tests.unit.node_agent.policy.commands.test_sums import HOSTILE


def test_bash_runs_nothing_that_the_judge_did_not_see(tmp_path: Path) -> None:
    ran = set()
    for number, text in enumerate(HOSTILE):
        folder = tmp_path / str(number)
        folder.mkdir()
        quiet = subprocess.DEVNULL
        subprocess.run(["bash", "-c", text], cwd=folder, stdin=quiet, stdout=quiet, stderr=quiet, check=False)
        if (folder / "hit").exists():
            ran.add(text)
    assert HOSTILE[0] in ran
    assert {text for text in ran if read_command(text).action is not ActionClass.UNKNOWN} == set()
