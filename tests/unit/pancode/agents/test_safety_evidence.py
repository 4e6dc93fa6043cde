"""How results of tries become who holds what: counts, holders, and the words of one runtime."""

from __future__ import annotations

import json

import pytest

from node_agent.wire.policy import Isolation
from pancode.agents.safety_evidence import ACTS, SafetyMatrix, TryResult, matrix_here, parse_matrix
from pancode.kernel.errors import NotFoundError

BY_NAME = {act.name: act for act in ACTS}
S, N = Isolation.SANDBOX, Isolation.NONE


def cell(wall: Isolation, rule: str, **results: tuple[str, ...]) -> dict:
    given = {one.value: list(results.get(one.value, ())) for one in TryResult}
    return {"runtime": "agent", "rule": rule, "wall": wall.value, **given}


def found(*cells: dict) -> SafetyMatrix:
    return parse_matrix(
        json.dumps({"measured": "2026-01-02", "versions": {"agent": "1.0.0"}, "cells": cells})
    )


def test_what_changes_something_decides_and_a_look_does_not() -> None:
    looks = found(cell(N, "auto-edit", happened=("shell-home", "tool-work"), stopped=("tool-git",)))
    assert looks.holds("agent", "auto-edit")
    writes = found(cell(N, "read-only", happened=("tool-work",), stopped=("tool-git",)))
    assert not writes.holds("agent", "read-only")
    ends = found(cell(N, "read-only", ended=("command",), stopped=("tool-work",)))
    assert ends.holds("agent", "read-only")


def test_nothing_tried_holds_nothing() -> None:
    assert not found().holds("agent", "read-only")
    assert found().holder("agent", "read-only", BY_NAME["tool-work"]) == ""


def test_work_in_the_checkout_is_forbidden_to_read_only_alone() -> None:
    one = found(cell(S, "auto-edit", happened=("tool-work",)), cell(S, "read-only", happened=("tool-work",)))
    assert one.happened("agent", "auto-edit", S) == [] and one.tried("agent", "auto-edit", S) == {}
    assert one.happened("agent", "read-only", S) == [BY_NAME["tool-work"]]


@pytest.mark.parametrize(
    ("act", "walled", "bare", "words"),
    [
        ("tool-git", "stopped", "stopped", "runtime"),
        ("tool-git", "stopped", "happened", "sandbox"),
        ("tool-git", "happened", "happened", "nobody"),
        ("tool-git", "happened", "stopped", "nobody"),
        ("tool-work", "happened", "happened", "allowed"),
        ("shell-outlive", "stopped", "stopped", "node agent"),
        ("command", "ended", "ended", "ends the run"),
    ],
)
def test_who_holds_an_act(act: str, walled: str, bare: str, words: str) -> None:
    one = found(cell(S, "full-auto", **{walled: (act,)}), cell(N, "full-auto", **{bare: (act,)}))
    assert one.holder("agent", "full-auto", BY_NAME[act]) == words


def test_all_runtimes_in_short_and_one_with_its_acts() -> None:
    every, one = matrix_here(), matrix_here("claude")
    listed = {row["runtime"] for row in every["matrix"]}
    assert listed >= {"claude", "shell"} and "scripted" not in listed
    assert "acts" not in every and len(one["acts"]) == len(ACTS)
    assert one["matrix"] == [row for row in every["matrix"] if row["runtime"] == "claude"]


def test_a_mistyped_runtime_gets_the_nearest_one() -> None:
    with pytest.raises(NotFoundError) as caught:
        matrix_here("claud")
    assert "claude?" in caught.value.why
