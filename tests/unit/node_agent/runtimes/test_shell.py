"""The runtime `shell`: how it is started, and what its end means."""

from __future__ import annotations

import pytest

from node_agent.runtimes.base import EndedBy, ExitInfo, RuntimeVerdict
from node_agent.runtimes.shell.runtime import ShellParser, find_enforcement, launch, read_probe
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety
from tests.unit.node_agent.runtimes.asked import PLACE, ask


def test_the_task_is_a_script_in_a_file_outside_the_checkout() -> None:
    nasty = "echo \"$(id)\" 'quoted'\n\necho -- --leading 😀"
    made = launch(ask(task=nasty), PLACE)
    assert made.argv == ("sh", "-eu", "/node/homes/r/task.sh")
    assert made.files["task.sh"] == (nasty + "\n").encode()
    assert made.stdin == b""


def test_an_argument_list_is_run_exactly_as_it_is() -> None:
    argv = ("printf", "%s", "a b", "$(id)", "", "-e")
    made = launch(ask(task="ignored", argv=argv), PLACE)
    assert made.argv == argv
    assert "task.sh" not in made.files


def test_a_users_answer_is_a_variable_and_a_file_in_its_home() -> None:
    for argv in (None, ("cat", "/node/homes/r/answer.txt")):
        made = launch(ask(argv=argv, answer="no, use $(9090)"), PLACE)
        assert made.env["PANCODE_ANSWER"] == "no, use $(9090)"
        assert made.env["PANCODE_ANSWER_FILE"] == "/node/homes/r/answer.txt"
        assert made.files["answer.txt"] == b"no, use $(9090)"
    assert not {"PANCODE_ANSWER", "PANCODE_ANSWER_FILE"} & launch(ask(), PLACE).env.keys()


def ended(end: ExitInfo, output: bytes = b"") -> RuntimeVerdict:
    parser = ShellParser()
    for i in range(0, len(output), 1000):
        parser.feed(output[i : i + 1000])
    return parser.finish(end)


@pytest.mark.parametrize(
    ("end", "failure", "outcome"),
    [
        (ExitInfo(status=0), None, Outcome.DONE),
        (ExitInfo(status=1), FailureKind.AGENT_FAILED, Outcome.ERROR),
        (ExitInfo(status=126), FailureKind.AGENT_FAILED, Outcome.ERROR),
        (ExitInfo(status=127), FailureKind.AGENT_FAILED, Outcome.ERROR),
        (ExitInfo(signal=11), FailureKind.AGENT_FAILED, Outcome.ERROR),
        (ExitInfo(), FailureKind.AGENT_FAILED, Outcome.ERROR),
        (ExitInfo(signal=9, ended_by=EndedBy.WALL), FailureKind.WALL_LIMIT, Outcome.TIMEOUT),
        (ExitInfo(signal=9, ended_by=EndedBy.IDLE), FailureKind.IDLE_LIMIT, Outcome.STALLED),
        (ExitInfo(status=0, ended_by=EndedBy.STOP), FailureKind.STOPPED, Outcome.INTERRUPTED),
    ],
)
def test_the_end_is_the_verdict(end: ExitInfo, failure: FailureKind | None, outcome: Outcome) -> None:
    verdict = ended(end)
    assert (verdict.failure, verdict.outcome) == (failure, outcome)
    assert verdict.usage.cost_source == "local"


def test_the_answer_is_the_end_of_the_output_and_memory_is_bounded() -> None:
    verdict = ended(ExitInfo(status=0), "é".encode() * 100_000 + b"\nlast line\n")
    assert verdict.answer.endswith("\nlast line")
    assert len(verdict.answer) == 4000


def test_a_shell_holds_nothing_by_itself() -> None:
    def grade(safety: Safety, read_only: bool, isolation: Isolation) -> Enforcement:
        return find_enforcement(Mode.BUILD, safety, read_only, isolation)

    assert grade(Safety.AUTO_EDIT, True, Isolation.NONE) is Enforcement.IMPOSSIBLE
    assert grade(Safety.SUGGEST, False, Isolation.NONE) is Enforcement.IMPOSSIBLE
    assert grade(Safety.AUTO_EDIT, False, Isolation.NONE) is Enforcement.TOLD_ONLY
    assert grade(Safety.AUTO_EDIT, True, Isolation.SANDBOX) is Enforcement.SANDBOX


def test_probe() -> None:
    assert read_probe([(0, "")]).state == "ok"
    assert read_probe([(None, "")]).state == read_probe([]).state == "missing"
