"""What holds for the transcripts of every real agent program, fed in every way that they may arrive."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.runtimes.base import EndedBy, ExitInfo
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.failure import Outcome
from tests.clis.install import VERSIONS
from tests.contract.transcripts import GOLDEN, RECORDED, cases, ending, feed, line, output, verdict

ALL = [(runtime, case) for runtime in RECORDED for case in cases(runtime)]
EXPECTED_CASES = {
    *("ok-text", "ok-edit", "ok-shell", "tool-denied", "shell-denied", "http-401", "http-429", "http-500"),
    *("bad-stream", "cut-stream", "refusal", "stalled", "sigint", "sigterm-shell"),
}


@pytest.mark.parametrize("runtime", RECORDED)
def test_every_case_is_recorded(runtime: str) -> None:
    assert set(cases(runtime)) == EXPECTED_CASES


@pytest.mark.parametrize("runtime", RECORDED)
def test_the_version_that_was_recorded_is_stated_and_one_that_the_runtime_knows(runtime: str) -> None:
    stated = json.loads((GOLDEN / "versions.json").read_text())
    program = RUNTIMES[runtime].program
    assert program is None or stated[runtime].startswith(program.known)
    assert stated[runtime] == VERSIONS[runtime], "record them with the program that the tests run"
    assert verdict(runtime, "ok-text").version in (None, stated[runtime])
    assert stated.keys() == set(RECORDED)


@pytest.mark.parametrize(("runtime", "case"), ALL)
def test_byte_by_byte_is_the_same_as_whole(runtime: str, case: str) -> None:
    data = output(runtime, case)
    cuts = list(range(1, len(data)))
    assert feed(runtime, data, ending(runtime, case), cuts) == verdict(runtime, case)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(ALL), st.lists(st.integers(0, 9000), max_size=10))
def test_any_chunks_are_the_same_as_whole(which: tuple[str, str], cuts: list[int]) -> None:
    data = output(*which)
    marks = sorted(min(c, len(data)) for c in cuts)
    assert feed(which[0], data, ending(*which), marks) == verdict(*which)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(ALL), st.integers(0, 9000), st.sampled_from([0, 1]))
def test_a_transcript_cut_anywhere_before_its_end_is_never_done(
    which: tuple[str, str], cut: int, status: int
) -> None:
    whole = output(*which).rstrip(b"\n")
    shorter = whole[: max(min(cut, len(whole) - 1), 0)]
    assert feed(which[0], shorter, ExitInfo(status=status)).outcome is not Outcome.DONE


@pytest.mark.parametrize(("runtime", "case"), ALL)
@pytest.mark.parametrize(
    ("why", "failure"),
    [
        (EndedBy.WALL, F.WALL_LIMIT),
        (EndedBy.IDLE, F.IDLE_LIMIT),
        (EndedBy.OUTPUT, F.OUTPUT_LIMIT),
        (EndedBy.MEMORY, F.MEMORY_LIMIT),
        (EndedBy.PROCESSES, F.PROCESS_LIMIT),
        (EndedBy.DISK, F.DISK_LIMIT),
        (EndedBy.STOP, F.STOPPED),
    ],
)
def test_what_we_ended_outranks_any_transcript(runtime: str, case: str, why: EndedBy, failure: F) -> None:
    assert feed(runtime, output(runtime, case), ExitInfo(status=0, ended_by=why)).failure is failure


@pytest.mark.parametrize("runtime", RECORDED)
def test_a_success_with_another_exit_status_is_an_error(runtime: str) -> None:
    data = output(runtime, "ok-text")
    for end in (ExitInfo(status=1), ExitInfo(signal=9), ExitInfo()):
        assert feed(runtime, data, end).failure is F.AGENT_FAILED


@pytest.mark.parametrize("runtime", RECORDED)
@pytest.mark.parametrize(
    ("data", "status", "failure"),
    [
        (b"", 127, F.RUNTIME_MISSING),
        (b"", 0, F.RUNTIME_UNREADABLE),
        (b"error: unknown option\n", 1, F.RUNTIME_UNREADABLE),
        (b"\xff\xfe\x00\n" * 1000, 0, F.RUNTIME_UNREADABLE),
    ],
)
def test_output_that_is_no_stream_is_nobodys_fault_and_never_done(
    runtime: str, data: bytes, status: int, failure: F
) -> None:
    told = feed(runtime, data, ExitInfo(status=status))
    assert (told.failure, told.outcome) == (failure, Outcome.INFRA)


@pytest.mark.parametrize("runtime", [one for one in RECORDED if one != "claude"])
def test_a_stream_in_a_dialect_that_nobody_knows_is_unreadable(runtime: str) -> None:
    told = feed(runtime, line(kind="session") + line(msg={"type": "task_complete"}), ExitInfo(status=0))
    assert told.failure is F.RUNTIME_UNREADABLE
