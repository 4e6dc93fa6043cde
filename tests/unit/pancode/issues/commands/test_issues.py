"""`work --plan` is a talk with the planner first; `work tell` and `kill` reach the newest run of an issue."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pancode.interfaces.cli import main
from pancode.interfaces.cli.output import Face
from pancode.issues.commands.issues import kill, on, tell
from pancode.kernel.errors import ExitCode, UsageError


class Coordinator:
    """Knows where the plan of SHOP-12 is made."""

    def __init__(self, run: str) -> None:
        self.run, self.asked = run, list[dict[str, Any]]()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == "/v1/plans"
        self.asked.append(body)
        return {"workspace": "shop-12", "file": "docs/shop-12-plan.md", "task": "Plan it", "run": self.run}


@pytest.mark.parametrize("run", ["", "r-1"])
def test_a_plan_comes_first_and_nothing_is_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: str
) -> None:
    coordinator, commands = Coordinator(run), list[list[str]]()
    monkeypatch.setattr(Face, "client", lambda self, works=False: cast("Any", coordinator))

    def begun(words: list[str]) -> int:
        commands.append(words)
        return ExitCode.DONE

    monkeypatch.setattr(main, "run", begun)
    assert on("SHOP-12", plans=True, model="big", face=Face(as_json=False)) == ExitCode.DONE
    assert [one["what"] for one in coordinator.asked] == ["SHOP-12"]
    chat = ["chat", "--agent", "planner", "--workspace", "shop-12", "--model", "big", "--", "Plan it"]
    assert commands == [["attach", "r-1"] if run else chat]
    assert "next: pancode plan keep shop-12; then: pancode work SHOP-12" in capsys.readouterr().err


@pytest.mark.parametrize("more", [{"agent": "builder"}, {"budget": "3"}, {"dry_run": True}])
def test_what_belongs_to_the_work_is_no_part_of_a_plan(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="a plan has its own agent"):
        on("SHOP-12", plans=True, face=Face(as_json=False), **more)


class AtWork:
    """Run r-7 is the newest one of SHOP-12."""

    def __init__(self, **answer: Any) -> None:
        self.answer, self.posted = answer, list[tuple[str, dict[str, Any]]]()

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/v1/work/SHOP-12"
        return {"run": "r-7"}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.posted.append((path, body))
        return {"run": "r-7", **self.answer}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"delivered": "with its task", "sent": False, "state": "pending"}, "r-7  told with its task\n"),
        ({"delivered": None, "sent": True, "state": "running"}, "sent: its agent gets it at its next turn"),
        ({"delivered": None, "sent": False, "state": "running"}, "not delivered, it is running; kept for"),
    ],
)
def test_words_for_an_issue_say_how_far_they_came(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: dict[str, Any], said: str
) -> None:
    there = AtWork(**answer)
    monkeypatch.setattr(Face, "client", lambda self, works=False: cast("Any", there))
    tell("SHOP-12", "leave the old API", face=Face(as_json=False))
    ((path, body),) = there.posted
    assert (path, body["text"]) == ("/v1/runs/r-7/tell", "leave the old API")
    assert said in capsys.readouterr().out


def test_a_kill_stops_the_newest_run_of_the_issue(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = AtWork(state="interrupting")
    monkeypatch.setattr(Face, "client", lambda self, works=False: cast("Any", there))
    kill("SHOP-12", face=Face(as_json=False))
    ((path, body),) = there.posted
    assert (path, body["reason"]) == ("/v1/runs/r-7/stop", "work kill SHOP-12")
    assert capsys.readouterr().out == "r-7  interrupting\n"
