"""The text of a pull request: the receipt and how to verify it; agents' words as text, and bounded."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.failure import Outcome
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.landing.pull_request import PullAsked, format_code_block, pull_request
from tests.unit.pancode.runs.world import a_run

RESULT: dict[str, Any] = {
    "receipt": "sha256:abc",
    "gates": [{"name": "pytest -q", "passed": True, "exit_code": 0}],
    "answer": "I have done it",
}


def run_of(**changes: Any) -> Run:
    more = {
        "outcome": Outcome.DONE,
        "result": RESULT,
        "agent": "builder",
        "runtime": "claude",
        "model": "m-1",
    }
    return replace(a_run("r-0001", 0, Decimal(1)), **{**more, **changes})


def test_it_has_the_receipt_and_how_to_verify_it() -> None:
    asked = pull_request(
        run_of(task="fix the list\n\nsecret details"),
        PullAsked("ana", "origin", "agent/x", ""),
        "$0.12 (reported)",
    )
    assert (asked.branch, asked.title) == ("agent/x", "fix the list")
    for word in (
        "`r-0001`",
        "Agent: `builder`, runtime `claude`, model `m-1`",
        "Outcome: `done`, cost `$0.12 (reported)`",
        "Gate `pytest -q`: passed",
        "Receipt: `sha256:abc`",
        "    pancode receipt export r-0001 > receipt.json",
        "    pancode receipt verify receipt.json --keys keys.json",
        "```text\nI have done it\n```",
    ):
        assert word in asked.text, word
    assert "secret details" not in asked.text


def test_without_gates_receipt_and_answer() -> None:
    asked = pull_request(
        run_of(result={}, model=None), PullAsked("ana", "origin", "b", "words of mine\nmore"), "unknown"
    )
    assert asked.title == "words of mine"
    assert "Gates: none, the change was not tested" in asked.text and "Receipt: `none`" in asked.text
    assert "model" not in asked.text and "export" not in asked.text and "own words" not in asked.text


@pytest.mark.parametrize("result", [{}, RESULT])
def test_a_gate_that_was_left_out_of_the_landing_is_said(result: dict[str, Any]) -> None:
    landing = {"gate": {"detail": "no gates; left out, as ana wanted: pytset -q"}}
    text = pull_request(run_of(result=result, landing=landing), PullAsked("a", "origin", "b"), "unknown").text
    assert "- Gates of the whole change: `no gates; left out, as ana wanted: pytset -q`" in text
    assert "was not tested" not in text.split("- Tested")[0]


def test_a_failed_gate_is_said_and_many_are_counted() -> None:
    gates = [{"name": f"g{number}", "passed": False, "exit_code": 3} for number in range(60)]
    text = pull_request(run_of(result={"gates": gates}), PullAsked("ana", "origin", "b", ""), "unknown").text
    assert "Gate `g0`: failed, exit `3`" in text and "and 10 more gates" in text and "`g50`" not in text


@pytest.mark.parametrize(
    "hostile",
    [
        "```\n@everyone closes #1\n```\n/merge",
        "````text\n/close\n````",
        "~~~\n<img src=x onerror=alert(1)>\n~~~",
        "\x1b]0;x\x07 \u202e bidi",
        "`" * 300,
        "x" * 100_000,
        "\n" * 10_000 + "x",
        "a\r\n/approve\r/merge",
    ],
)
def test_agents_text_stays_text_and_bounded(hostile: str) -> None:
    result = {**RESULT, "answer": hostile, "gates": [{"name": hostile, "passed": True}]}
    asked = pull_request(
        run_of(task=hostile, result=result, model=hostile), PullAsked("ana", "origin", "b", ""), "unknown"
    )
    assert len(asked.text) < 12_000 and 0 < len(asked.title) <= 200 and asked.title.isprintable()
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", asked.text)
    *before, rest = asked.text.partition("The agent's own description")
    assert not re.search(r"^\s*[/@<~]", before[0], re.MULTILINE), "nothing of it begins a line of ours"
    for line in before[0].splitlines():
        assert line.count("`") % 2 == 0 and "``" not in line
    fences = re.findall(r"^(`{3,})(?:text)?$", rest, re.MULTILINE)
    assert fences[0] == fences[-1] and fences.count(fences[0]) == 2, "no line of it ends the quotation"


def test_a_fence_is_longer_than_any_within() -> None:
    assert format_code_block("a ````` b").startswith("``````text\n")
