"""The runtime `shell` as real processes: scripts and argument lists with every nasty character."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from node_agent.runtimes.base import ExitInfo, LaunchRequest, RuntimeVerdict
from node_agent.runtimes.shell.runtime import ShellParser, launch
from node_agent.wire.failure import FailureKind as F
from tests.crowd import crowded
from tests.unit.node_agent.runtimes.asked import ask, place


def run(tmp_path: Path, request: LaunchRequest) -> RuntimeVerdict:
    made = launch(request, place(path=os.environ["PATH"]))
    for name, data in made.files.items():
        (tmp_path / "home" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "home" / name).write_bytes(data)
    work = tmp_path / "work with 'quotes'"
    work.mkdir(exist_ok=True)
    p = subprocess.run(
        made.argv,
        cwd=work,
        env=made.env,
        input=made.stdin,
        capture_output=True,
        timeout=20 * crowded(),
        check=False,
    )
    parser = ShellParser()
    parser.feed(p.stdout)
    return parser.finish(ExitInfo(status=p.returncode, complaints=p.stderr))


def script(tmp_path: Path, text: str) -> RuntimeVerdict:
    return run(tmp_path, ask(task=text, home=str(tmp_path / "home")))


def test_a_script_runs_in_the_workspace_with_the_runs_own_home(tmp_path: Path) -> None:
    verdict = script(tmp_path, 'pwd; echo "$HOME"; echo x > made; cat')
    assert verdict.failure is None
    assert verdict.answer == f"{tmp_path}/work with 'quotes'\n{tmp_path}/home"
    assert (tmp_path / "work with 'quotes'" / "made").exists()


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("true", None),
        ("false; echo not reached", F.AGENT_FAILED),
        ('echo "$NOT_SET"', F.AGENT_FAILED),
        ("exit 3", F.AGENT_FAILED),
        ("no-such-program-here", F.AGENT_FAILED),
        ("./made", F.AGENT_FAILED),
        ("if", F.AGENT_FAILED),
        ("kill -9 $$", F.AGENT_FAILED),
    ],
)
def test_the_exit_status_is_the_verdict(tmp_path: Path, text: str, failure: F | None) -> None:
    assert script(tmp_path, text).failure is failure


@pytest.mark.parametrize(
    "word", ["a b", "$(id)", "`id`", "'", '"', "\n", "-n", "", "*", "😀", "a\\nb", "; rm -rf /"]
)
def test_an_argument_arrives_as_it_was_given(tmp_path: Path, word: str) -> None:
    argv = ("printf", "<%s>", word)
    assert run(tmp_path, ask(argv=argv, home=str(tmp_path / "home"))).answer == f"<{word}>"


def test_a_failure_says_the_last_line_of_its_complaints(tmp_path: Path) -> None:
    assert script(tmp_path, "exit 3").reason == "exit 3"
    said = script(tmp_path, "echo more >&2; cat no-such-file").reason
    assert said.startswith("exit 1: cat: ") and "no-such-file" in said and "more" not in said
