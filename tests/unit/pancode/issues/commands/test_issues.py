"""`issue work --plan` is a talk with the planner first; `tell` and `stop` reach the run of an issue."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli import main
from pancode.interfaces.cli.output import Face
from pancode.issues.commands.issues import on
from pancode.kernel.errors import ExitCode, UsageError
from tests.fakes.api import FakeApi


@pytest.mark.parametrize("run", ["", "r-1"])
def test_a_plan_comes_first_and_nothing_is_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: str
) -> None:
    commands = list[list[str]]()
    plan = {"workspace": "shop-12", "file": "docs/shop-12-plan.md", "task": "Plan it", "run": run}
    coordinator = FakeApi({"POST /v1/plans": plan}).serves(monkeypatch)

    def begun(words: list[str]) -> int:
        commands.append(words)
        return ExitCode.DONE

    monkeypatch.setattr(main, "run", begun)
    assert on("SHOP-12", plans=True, model="big", face=Face(as_json=False)) == ExitCode.DONE
    assert [one["what"] for _, one in coordinator.asked] == ["SHOP-12"]
    chat = ["chat", "--agent", "planner", "--workspace", "shop-12", "--model", "big", "--", "Plan it"]
    assert commands == [["sessions", "attach", "r-1"] if run else chat]
    assert (
        "next: pancode issue plan --keep shop-12; then: pancode issue work SHOP-12" in capsys.readouterr().err
    )


@pytest.mark.parametrize("more", [{"agent": "builder"}, {"budget": "3"}, {"dry_run": True}])
def test_what_belongs_to_the_work_is_no_part_of_a_plan(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="a plan has its own agent"):
        on("SHOP-12", plans=True, face=Face(as_json=False), **more)


def at_work(monkeypatch: pytest.MonkeyPatch, does: str, **answer: Any) -> FakeApi:
    """Run r-7 is the newest one of SHOP-12."""
    answers = {f"POST /v1/runs/r-7/{does}": {"run": "r-7", **answer}}
    return FakeApi({"GET /v1/work/SHOP-12": {"run": "r-7"}, **answers}).serves(monkeypatch)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"delivered": "with its task", "sent": False, "state": "pending"}, "r-7  told with its task\n"),
        ({"delivered": None, "sent": True, "state": "running"}, "sent: its agent gets it at its next turn"),
        ({"delivered": None, "sent": False, "state": "running"}, "not delivered: it is running; stored for"),
    ],
)
def test_words_for_an_issue_say_how_far_they_came(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: dict[str, Any], said: str
) -> None:
    there = at_work(monkeypatch, "tell", **answer)
    assert main.run(["work", "tell", "SHOP-12", "leave the old API"]) == ExitCode.DONE
    ((path, body),) = there.posted
    assert (path, body["text"]) == ("/v1/runs/r-7/tell", "leave the old API")
    assert said in capsys.readouterr().out


def test_a_kill_stops_the_newest_run_of_the_issue(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = at_work(
        monkeypatch, "stop", status="stopping", state="interrupting", outcome=None, reason="asked", notes=[]
    )
    assert main.run(["work", "kill", "SHOP-12"]) == ExitCode.DONE
    ((path, _),) = there.posted
    assert path == "/v1/runs/r-7/stop"
    assert capsys.readouterr().out == "r-7  stopping  asked\n"
