"""The double as a real process: each act does what its docstring says, and the parser understands it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from node_agent.runtimes.base import ExitInfo, LaunchRequest, RuntimeVerdict
from node_agent.runtimes.scripted import program
from node_agent.runtimes.scripted.runtime import ScriptedParser, launch
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A
from node_agent.wire.policy import Safety
from tests.crowd import crowded
from tests.unit.node_agent.runtimes.asked import LIMITS, ask, place


@dataclass
class Lab:
    """A workspace with one commit, and a way to run the double in it."""

    work: Path
    home: Path

    def start(self, request: LaunchRequest) -> subprocess.Popen[bytes]:
        made = launch(request, place(python=sys.executable, path=os.environ["PATH"]))
        for name, data in made.files.items():
            path = self.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        task, out = self.home / "stdin", self.home / "out"
        task.write_bytes(made.stdin)
        with task.open("rb") as stdin, out.open("wb") as stdout, (self.home / "err").open("wb") as err:
            return subprocess.Popen(
                made.argv, cwd=self.work, env=made.env, stdin=stdin, stdout=stdout, stderr=err
            )

    def request(self, *acts: object, **changes: object) -> LaunchRequest:
        changes = {"task": json.dumps(acts), "workspace": str(self.work), "home": str(self.home), **changes}
        return ask(**changes)

    def verdict(self, status: int) -> RuntimeVerdict:
        parser = ScriptedParser()
        parser.feed(self.out)
        end = ExitInfo(status=status) if status >= 0 else ExitInfo(signal=-status)
        return parser.finish(end)

    def run(self, *acts: object, **changes: object) -> RuntimeVerdict:
        process = self.start(self.request(*acts, **changes))
        return self.verdict(process.wait(20 * crowded()))

    @property
    def out(self) -> bytes:
        return (self.home / "out").read_bytes()

    def git(self, *args: str) -> str:
        argv = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *args]
        return subprocess.run(argv, cwd=self.work, check=True, capture_output=True, text=True).stdout

    def eventually(self, name: str) -> str:
        for _ in range(500):
            if (self.work / name).exists() and (text := (self.work / name).read_text()):
                return text
            time.sleep(0.02)
        raise AssertionError(f"{name} did not appear")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "work", tmp_path / "home")
    lab.work.mkdir()
    lab.home.mkdir()
    (lab.work / "a.txt").write_text("one\ntwo\n")
    for args in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        lab.git(*args)
    return lab


def test_plain_words_make_a_small_edit_that_is_the_same_each_time(lab: Lab) -> None:
    verdict = lab.run(task="add a --json flag\n  to 'export'")
    assert verdict.failure is None
    assert (lab.work / "NOTES.md").read_text() == "- add a --json flag to 'export'\n"
    assert verdict.answer == "Noted in NOTES.md: add a --json flag to 'export'"
    assert verdict.tool_calls == {A.FILE_WRITE: 1}
    assert (verdict.usage.cost_usd, verdict.usage.cost_source) == (Decimal(0), "local")
    assert verdict.session and verdict.session.startswith("s-")


def test_plain_words_under_read_only_change_nothing_and_are_done(lab: Lab) -> None:
    assert lab.run(task="review this", read_only=True).failure is None
    assert lab.git("status", "--porcelain") == ""


@pytest.mark.parametrize("task", ["{not json", "[1] is the first footnote", "", "{}x"])
def test_plain_words_may_look_like_anything(lab: Lab, task: str) -> None:
    assert lab.run(task=task).failure is None
    assert (lab.work / "NOTES.md").exists()


def test_files_are_written_changed_and_deleted(lab: Lab) -> None:
    verdict = lab.run(
        ["write", "new/b.txt", "hi\n"],
        ["append", "new/b.txt", "there\n"],
        ["replace", "a.txt", "two", "TWO"],
        ["mkdir", "d/e"],
        ["link", "l", "/etc/passwd"],
        ["write", "gone", ""],
        ["delete", "gone"],
        ["delete", "d"],
    )
    assert verdict.failure is None
    assert (lab.work / "new/b.txt").read_text() == "hi\nthere\n"
    assert (lab.work / "a.txt").read_text() == "one\nTWO\n"
    assert os.readlink(lab.work / "l") == "/etc/passwd"
    assert not (lab.work / "gone").exists() and not (lab.work / "d").exists()
    assert verdict.tool_calls == {A.FILE_WRITE: 6, A.FILE_DELETE: 2}
    assert verdict.usage.turns == 8


def test_a_script_of_lines_is_the_same(lab: Lab) -> None:
    lines = ["#!scripted", "# a comment", 'write "b c.txt" "x\\ny\\n"', "", "usage 10 5 0.25 3  # cost"]
    verdict = lab.run(task="\n".join([*lines, 'answer "All good."', ""]))
    assert (lab.work / "b c.txt").read_text() == "x\ny\n"
    assert verdict.answer == "All good."
    usage = verdict.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (10, 5, 3)
    assert (usage.cost_usd, usage.cost_source) == (Decimal("0.25"), "reported")


def test_it_commits_by_itself_leaves_files_and_deletes_the_repository(lab: Lab) -> None:
    assert lab.run(["write", "c", "1"], ["commit", "its own"], ["write", "left", "1"]).failure is None
    assert lab.git("log", "-1", "--format=%s by %an").strip() == "its own by PanCode agent"
    assert lab.git("status", "--porcelain").strip() == "?? left"
    assert lab.run("git tag one", "delete-git").failure is None
    assert not (lab.work / ".git").exists()


def test_read_only_denies_what_changes_and_force_disobeys(lab: Lab) -> None:
    verdict = lab.run(["write", "x", "1"], ["commit", "c"], read_only=True)
    assert verdict.failure is F.TOOL_DENIED
    assert [(d.tool, d.action) for d in verdict.denials] == [("write", A.FILE_WRITE), ("commit", A.SHELL)]
    assert lab.git("status", "--porcelain") == ""
    assert lab.run(["write", "x", "1"], ["read", "a.txt"], safety=Safety.SUGGEST).failure is None
    assert lab.run(["force", "write", "x", "1"], read_only=True).failure is None
    assert (lab.work / "x").exists()


def test_usage_adds_up_may_be_unknown_and_may_break_the_budget(lab: Lab) -> None:
    usage = lab.run(["usage", 10, 5, "0.1"], ["usage", 1, 1, "0.02"]).usage
    assert (usage.input_tokens, usage.output_tokens, usage.cost_usd) == (11, 6, Decimal("0.12"))
    usage = lab.run(["usage", 10, 5, "unknown"], ["usage", 1, 1, "1"]).usage
    assert (usage.cost_usd, usage.cost_source) == (None, "unknown")
    limits = LIMITS.model_copy(update={"usd": Decimal("0.5")})
    assert lab.run(["usage", 1, 1, "0.5"], limits=limits).failure is None
    assert lab.run(["usage", 1, 1, "0.51"], ["write", "never", ""], limits=limits).failure is F.USD_LIMIT
    assert not (lab.work / "never").exists()


def test_a_lie_claims_and_does_nothing(lab: Lab) -> None:
    verdict = lab.run("lie", ["write", "never", ""])
    assert verdict.failure is None
    assert (verdict.usage.input_tokens, verdict.usage.output_tokens) == (900, 100)
    assert verdict.tool_calls == {A.FILE_WRITE: 1}
    assert lab.git("status", "--porcelain") == ""


ENDS: list[tuple[list, int, F | None]] = [
    ([["fail", "cannot"]], 1, F.AGENT_FAILED),
    ([["ask", "which one?"]], 1, F.NEEDS_USER),
    ([["exit", 0]], 0, F.NO_ANSWER),
    ([["exit", 3]], 3, F.NO_ANSWER),
    ([["finish", 0]], 0, None),
    ([["finish", 4]], 4, F.AGENT_FAILED),
    ([["answer", " "]], 0, F.NO_ANSWER),
    ([["invalid"], ["exit", 0]], 0, F.NO_ANSWER),
    (["raw hello"], 0, None),
    (["kill"], -9, F.NO_ANSWER),
    (["kill TERM"], -15, F.NO_ANSWER),
    ([["replace", "a.txt", "no such text", ""]], 1, F.AGENT_FAILED),
    ([["delete", "no-such-file"]], 1, F.AGENT_FAILED),
    ([["git", "no-such-command"]], 1, F.AGENT_FAILED),
    ([["usage", "many", 1]], 1, F.AGENT_FAILED),
    ([["await", "no-such-file", 0.1]], 1, F.AGENT_FAILED),
    ([["try", "delete", "no-such-file"]], 0, None),
    (["frobnicate"], 2, F.AGENT_FAILED),
    (["write only-a-path"], 2, F.AGENT_FAILED),
    (["ignore SIGNOTHING"], 2, F.AGENT_FAILED),
    ([7], 2, F.AGENT_FAILED),
    (["deny Bash"], 0, F.TOOL_DENIED),
]


@pytest.mark.parametrize(("acts", "status", "failure"), ENDS, ids=[json.dumps(e[0]) for e in ENDS])
def test_each_end_has_its_status_and_verdict(lab: Lab, acts: list, status: int, failure: F | None) -> None:
    process = lab.start(lab.request(*acts))
    assert process.wait(20 * crowded()) == status, (lab.home / "err").read_text()
    assert lab.verdict(status).failure is failure
    assert b"Traceback" not in (lab.home / "err").read_bytes()


@pytest.mark.parametrize("size", [1, 100, 65_500, 200_001])
def test_a_flood_has_exactly_its_size_and_spoils_no_event(lab: Lab, size: int) -> None:
    verdict = lab.run(["flood", size], ["flood", size, "stderr"], ["answer", "still here"])
    assert verdict.answer == "still here"
    assert len((lab.home / "err").read_bytes()) == size
    events = sum(len(x) for x in lab.out.splitlines(keepends=True) if x.startswith(b"{"))
    assert len(lab.out) - events == size


def test_the_environment_is_named_not_shown(lab: Lab) -> None:
    lab.run("env")
    said = next(e for e in map(json.loads, lab.out.splitlines()) if e["type"] == "say")["text"].split()
    # LC_CTYPE is what Python adds to its own environment.
    assert set(said) - {"LC_CTYPE"} == {
        *("GIT_AUTHOR_EMAIL", "GIT_AUTHOR_NAME", "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_NAME"),
        *("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0"),
        *("GIT_TERMINAL_PROMPT", "HOME", "LANG", "NO_COLOR", "PATH", "TERM", "TMPDIR"),
    }


def test_it_ignores_signals_and_hangs_until_killed(lab: Lab) -> None:
    process = lab.start(lab.request("ignore TERM INT", "write ready yes", "hang"))
    lab.eventually("ready")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.kill()
    assert lab.verdict(process.wait(10 * crowded())).failure is F.NO_ANSWER


def test_without_ignoring_it_dies_of_sigint_without_a_word(lab: Lab) -> None:
    process = lab.start(lab.request("write ready yes", "hang"))
    lab.eventually("ready")
    process.send_signal(signal.SIGINT)
    assert process.wait(10 * crowded()) == -signal.SIGINT
    assert (lab.home / "err").read_bytes() == b""


@pytest.mark.parametrize("verb", ["fork", "fork-bare"])
def test_a_forked_child_outlives_it_in_a_session_of_its_own(lab: Lab, verb: str) -> None:
    assert lab.run([verb, 0.4, "late.txt"]).failure is None
    assert lab.eventually("late.txt") == "late\n"


def test_it_waits_for_a_file_and_fills_a_file(lab: Lab) -> None:
    process = lab.start(lab.request("await go", ["fill", "big", 3_000_000]))
    (lab.work / "go").touch()
    assert process.wait(20 * crowded()) == 0
    assert (lab.work / "big").stat().st_size == 3_000_000


def test_ticks_are_said_in_order(lab: Lab) -> None:
    lab.run(["tick", 3, 0.01])
    assert re.findall(rb"tick \d", lab.out) == [b"tick 1", b"tick 2", b"tick 3"]


def test_every_act_is_documented() -> None:
    doc = program.__doc__ or ""
    for verb in (*program.ACTING, *program.TELLING):
        assert re.search(rf"(^|[ ·`(]){verb}( |`|$|\n)", doc, re.MULTILINE), verb


MODULES = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    sys.stderr.write(" ".join(sorted(sys.modules)))
"""


def test_the_program_needs_nothing_but_python(lab: Lab) -> None:
    argv = launch(ask(), place(python=sys.executable)).argv
    assert argv[1:3] == ("-I", "-S")
    run = [*argv[:3], "-c", MODULES, argv[3]]
    p = subprocess.run(run, input=b"hi", cwd=lab.work, capture_output=True, timeout=20 * crowded())
    ours = [m for m in p.stderr.decode().split() if m.startswith("node_agent")]
    assert ours == []
    assert "pydantic" not in p.stderr.decode()


def test_scripts_are_read_as_documented() -> None:
    assert program.parse_task('{"acts": [["write", "a", 1], "say hi"]}') == [
        ["write", "a", "1"],
        ["say", "hi"],
    ]
    assert program.parse_task("#!scripted\nsay 'a b' # c\n") == [["say", "a b"]]
    assert program.parse_task("plain words") is None
    for bad in ('{"act": []}', "[[]]", "[null]", "#!scripted\nsay 'half"):
        with pytest.raises(program.BadScript):
            program.parse_task(bad)
