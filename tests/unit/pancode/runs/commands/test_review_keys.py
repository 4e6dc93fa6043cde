"""The keys of `pancode inbox review`: one decides, and the next need is shown; `z` takes a dismissal back."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli.output import Face
from pancode.kernel.declared import to_json
from pancode.landing.commands import review
from pancode.reports.answers import NOW
from pancode.reports.now import arrange_now
from pancode.runs.answers import NeedAct, NeedGroup
from tests.fakes.api import FakeApi
from tests.unit.pancode.reports.test_now import need, snapshot

DETAIL: dict[str, Any] = {"answer": "", "commit": None, "task": "t", "receipt_verdict": "valid"}


class Desk(FakeApi):
    """Three needs that are listed until they are decided, as with the real API."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asks = NeedAct("retry", "r", "Retry", "Again?", "/v1/runs/r-1/retry")
        words = NeedAct("send_back", "s", "Send back", "Why?", "/v1/runs/r-3/continue", takes_text=True)
        acts = {"r-1": (asks, NeedAct.done("r-1")), "r-2": (NeedAct.done("r-2"),), "r-3": (words,)}
        self.needs = {name: need(name, NeedGroup.FAILED, "error", acts=some) for name, some in acts.items()}
        self.left = set(acts)
        super().__init__(
            {
                "GET /v1/now": lambda path, sent: self._now(),
                "GET /v1/runs/*": b"diff --git a/x b/x\n+four\n",
                "POST /v1/needs/*/undo": lambda path, sent: self._mark(path, self.left.add),
                "POST *": lambda path, sent: self._mark(path, self.left.discard),
            }
        )
        self.serves(monkeypatch)

    def _now(self) -> Any:
        return to_json(arrange_now(snapshot(0, needs=[self.needs[one] for one in sorted(self.left)])))

    def _mark(self, path: str, act: Any) -> Any:
        act(path.split("/")[3])
        return {"need": path.split("/")[3]}


@pytest.mark.parametrize(
    ("keys", "posted", "done"),
    [
        ("een", ["r-1/done", "r-2/done"], ["done", "done"]),
        ("ezneq", ["r-1/done", "r-1/undo", "r-1/done"], ["done"]),
        ("ryeq", ["r-1/retry", "r-2/done"], ["retried", "done"]),
        ("rnnns", ["r-3/continue"], ["sent back"]),
        ("zxq", [], []),
    ],
    ids=["done", "undone", "retried", "not sure", "nothing"],
)
def test_each_key_decides_and_the_next_need_follows(
    monkeypatch: pytest.MonkeyPatch, keys: str, posted: list[str], done: list[str]
) -> None:
    desk, pressed = Desk(monkeypatch), iter(keys)
    monkeypatch.setattr(review, "_read_key", lambda question: next(pressed))
    monkeypatch.setattr(review.Review, "_format_whole", lambda self, need: "")
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "the port is wrong")
    found = review.Review(Face(False), desk, desk.get(NOW)).run()
    assert ["/".join(path.split("/")[3:]) for path, _ in desk.posted] == posted and found == done
    if "s" in keys:
        assert desk.posted[-1][1]["text"] == "the port is wrong"


def test_a_digit_answers_with_that_choice_and_d_shows_the_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(monkeypatch)
    answer = NeedAct("answer", "a", "Answer", "Which?", "/v1/runs/r-1/answer", takes_text=True)
    item: Any = {"id": "r-1", "run": "r-1", "since": "2026-11-28T09:00:00.000Z", "kind": "question"}
    item |= {"choices": ["four", "five"], "command": "pancode answer r-1", "words": "Which?"}
    item |= {"yes": [], "call": None, "plan": None}
    desk.left = {"r-1"}
    desk.needs["r-1"] = need("r-1", NeedGroup.ASKS, "question", acts=(answer,), item=item, words="Which?")
    pressed = iter("3d2")
    monkeypatch.setattr(review, "_read_key", lambda question: next(pressed))
    assert review.Review(Face(False), desk, desk.get(NOW)).run() == ["answered"]
    assert [(path, sent["text"]) for path, sent in desk.posted] == [("/v1/runs/r-1/answer", "2")]
    out = capsys.readouterr().out
    assert "+four" in out and "--- 1 of 1, $0.12 ---" in out and "five" in out
