"""What all runtimes share: the environment of an agent, and what outranks its output."""

from __future__ import annotations

import itertools

import pytest

from node_agent.runtimes.base import (
    EndedBy,
    ExitInfo,
    base_env,
    ended_for_us,
    how_it_ended,
    keep_end,
    may_write,
)
from node_agent.wire.failure import FAILURES, FailureKind, Outcome
from node_agent.wire.policy import Mode, Safety
from tests.unit.node_agent.runtimes.asked import REQUEST, place


def test_the_environment_holds_what_is_allowed_and_nothing_replaces_the_runs_own() -> None:
    allowed = {"FOO": "1", "HOME": "/root", "TMPDIR": "/", "PATH": "/evil", "LANG": "de_DE.UTF-8"}
    env = base_env(REQUEST, place(env=allowed))
    assert env["FOO"] == "1"
    assert (env["HOME"], env["TMPDIR"], env["PATH"]) == (
        "/node/homes/r",
        "/node/homes/r/tmp",
        "/usr/bin:/bin",
    )
    assert env["LANG"] == "de_DE.UTF-8"
    assert set(base_env(REQUEST, place())) == set(env) - {"FOO"}


@pytest.mark.parametrize(
    ("mode", "safety", "read_only"), list(itertools.product(Mode, Safety, (False, True)))
)
def test_only_build_above_suggest_with_a_writing_agent_may_write(
    mode: Mode, safety: Safety, read_only: bool
) -> None:
    expected = mode is Mode.BUILD and safety is not Safety.SUGGEST and not read_only
    assert may_write(mode, safety, read_only) is expected


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (ExitInfo(status=0), None),
        (ExitInfo(status=1), None),
        (ExitInfo(signal=9), None),
        (ExitInfo(status=0, ended_by=EndedBy.WALL), Outcome.TIMEOUT),
        (ExitInfo(signal=9, ended_by=EndedBy.IDLE), Outcome.STALLED),
        (ExitInfo(signal=15, ended_by=EndedBy.STOP), Outcome.INTERRUPTED),
        (ExitInfo(signal=15, ended_by=EndedBy.OUTPUT), Outcome.ERROR),
        (ExitInfo(not_started="ENOENT"), Outcome.INFRA),
        (ExitInfo(not_started="EACCES", ended_by=EndedBy.STOP), Outcome.INFRA),
    ],
)
def test_what_we_ended_outranks_the_output(end: ExitInfo, outcome: Outcome | None) -> None:
    found = ended_for_us(end)
    assert (found and FAILURES[found[0]].outcome) == outcome


def test_a_missing_program_is_named_by_its_error() -> None:
    assert ended_for_us(ExitInfo(not_started="ENOENT")) == (
        FailureKind.RUNTIME_MISSING,
        "the program could not be started: ENOENT",
    )


def test_ends_in_words() -> None:
    ends = [ExitInfo(status=3), ExitInfo(signal=9), ExitInfo()]
    assert [how_it_ended(e) for e in ends] == ["exit 3", "signal 9", "end unknown"]


def test_clipping_keeps_the_end() -> None:
    assert keep_end("abc", 3) == "abc"
    assert keep_end("abcd", 3) == "…cd"
