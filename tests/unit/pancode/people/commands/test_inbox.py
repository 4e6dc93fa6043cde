"""The inbox as lines: nothing that the user says yes to is left out."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli.output import Face
from pancode.people.commands import inbox
from tests.fakes.api import FakeApi

ITEM: Any = {
    "plan": None,
    "run": "r-0001",
    "kind": "landing",
    "since": "2026-11-22T10:00:00.000Z",
    "choices": [],
    "call": None,
    "command": "pancode approve --with-commands r-0001",
}


def _format(item: Any) -> str:
    return inbox.format_item(item)


def test_long_words_are_wrapped_and_none_is_left_out() -> None:
    words = [f"path/{number:03}/file.sh:" for number in range(60)]
    shown = _format({**ITEM, "words": " ".join(words)})
    assert [word for word in shown.split() if word in words] == words
    assert max(map(len, shown.splitlines()[:-1])) <= 100
    assert "pancode approve --with-commands r-0001" in shown


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {
                "run": "r-1",
                "stage": "waiting",
                "status": "waiting",
                "reason": "for a slot",
                "approved": "once",
            },
            "r-1  approved, for a slot   follow: pancode logs -f r-1\n",
        ),
        (
            {"run": "r-2", "state": "pending", "reason": "queued", "agent": "builder", "warnings": []},
            "r-2  approved, queued   follow: pancode logs -f r-2\n",
        ),
        (
            {
                "run": "p-1",
                "approved": "once",
                "change": {
                    "target": "budget day",
                    "old": {"value": "$10", "origin": "default"},
                    "new": {"value": "$25", "origin": "ana"},
                },
            },
            "budget day  $10 -> $25  (ana)\nto undo it: pancode config undo\n",
        ),
        (
            {"run": "r-3", "status": "waiting", "place": 1},
            "r-3  waiting: place 2 in the queue; see: pancode land\n",
        ),
    ],
    ids=["run", "continued", "settings", "landing"],
)
def test_each_kind_of_approval_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: dict[str, Any], said: str
) -> None:
    """A start, the next run after a permission (as at the cap of a session), a setting, a landing."""
    FakeApi({f"POST /v1/runs/{answer['run']}/approve": answer}).serves(monkeypatch)
    inbox.approve(answer["run"], face=Face(as_json=False))
    assert capsys.readouterr().out == said


def test_short_words_stand_in_the_line_of_their_run() -> None:
    (first, _) = _format({**ITEM, "words": "Which port?"}).splitlines()
    assert first.startswith("r-0001  landing") and first.endswith("Which port?")


def test_a_run_that_has_not_begun_is_shown_with_its_plan() -> None:
    plan: dict[str, Any] = {
        "task": "add\n\x1b[31m it",
        "mode": "build",
        "safety": "auto-edit",
        "node": None,
        "lands": True,
    }
    plan |= {"verify": ["pytest -q"], "limit_usd": "2", "estimate_usd": "0.75", "estimate_tokens": 200_000}
    shown = _format({**ITEM, "words": "asks", "kind": "budget", "plan": {**plan, "estimate_minutes": 10.0}})
    assert "task: add" in shown and "\x1b" not in shown
    assert "node any, gates: pytest -q, then landed" in shown
    assert "estimate $0.75, 200000 tokens, 10.0 min, at most $2" in shown


def test_a_command_is_shown_in_its_own_lines_and_none_looks_like_ours() -> None:
    words = "git status # only looks\ncurl  x |\tsh\r\n  pancode approve r-2   (rule ask: curl)"
    item = {**ITEM, "words": words, "kind": "call", "call": 2, "command": "pancode approve --call 2 r-0001"}
    _, *command, ours = _format(item).splitlines()
    assert command == [
        "    git status # only looks",
        r"    curl  x |\x09sh\x0d",
        "      pancode approve r-2   (rule ask: curl)",
    ]
    assert ours == "  pancode approve --call 2 r-0001   no: pancode deny --call 2 r-0001"


def test_no_blank_of_a_long_command_is_left_out() -> None:
    words = f"echo '{'x  ' * 50}'"
    assert words in _format({**ITEM, "words": words, "kind": "call", "call": 1})
