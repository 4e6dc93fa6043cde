"""`models decompose`: what is asked, with how much money, and which exit status it has."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pancode.agents.commands.models import _decomposed, _exit_of_requests, _rehearsed
from pancode.interfaces.cli.main import run
from pancode.interfaces.cli.output import Face
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import ApiError, ExitCode

NAMES = ["chain", "question", "thanks"]


class Rehearsing(Client):
    """A coordinator at which each request costs so much, and ends so; ApiError: it is refused."""

    def __init__(self, **ends: tuple[str, str] | ApiError) -> None:
        super().__init__(Path("/nowhere"))
        self.ends, self.rows = ends, {name: row(name) for name in NAMES}
        self.budgets: list[tuple[str, str]] = []

    def get(self, path: str, **query: Any) -> Any:
        assert (path, query) == ("/v1/models/decompositions", {"model": "m"})
        return {"models": [{"requests": list(self.rows.values())}]}

    def post_work(self, path: str, body: Any, told: Any, wait_s: float = 0, key: str = "") -> Any:
        name = body["rehearses"]
        end = self.ends.get(name, ("passed", "0.40"))
        if isinstance(end, ApiError):
            raise end
        self.budgets.append((name, body["budget"]))
        self.rows[name] = row(name, *end)
        return {"run": f"r-{name}", "warnings": []}


def row(name: str, state: str = "not asked", spent: str = "0") -> dict[str, Any]:
    about = {"words": f"do {name}", "expected": "nothing", "asked": "builder", "why": "", "at": None}
    return {"name": name, "state": state, "spent_usd": spent, "run": f"r-{name}", **about}


def ask(client: Rehearsing, usd: str = "1", again: bool = False) -> list[tuple[str, str]]:
    client.budgets.clear()
    _rehearsed(Face(as_json=False), client, {"model": "m", "by": "ana"}, Decimal(usd), NAMES, again)
    return client.budgets


def test_each_gets_what_those_before_have_left_and_what_is_known_is_not_asked_again() -> None:
    client = Rehearsing(question=("unknown", "0.10"))
    assert ask(client) == [("chain", "1"), ("question", "0.60"), ("thanks", "0.50")]
    assert ask(client) == [("question", "1")]
    assert [name for name, _ in ask(client, again=True)] == NAMES


def test_nothing_is_begun_once_the_money_is_used_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(Rehearsing(chain=("failed", "0.70"), question=("passed", "0.30"))) == [
        ("chain", "1"),
        ("question", "0.30"),
    ]
    assert "the budget is used up" in capsys.readouterr().err


def test_a_refusal_ends_it_and_is_an_error_where_it_is_the_first() -> None:
    no = ApiError({"code": "refused", "message": "no money"})
    assert ask(Rehearsing(question=no)) == [("chain", "1")]
    with pytest.raises(ApiError):
        ask(Rehearsing(chain=no))


def test_its_exit_status_and_table() -> None:
    states = [[("passed", 1)], [("passed", 1), ("unknown", 2)], [("failed", 1), ("not asked", 2)]]
    found = [_exit_of_requests([row("x", state) for state, _ in one]) for one in states]
    assert found == [ExitCode.DONE, ExitCode.UNAVAILABLE, ExitCode.REFUSED]
    shown = _decomposed("m", [row("chain", "passed"), row("thanks", "failed")])
    assert shown.startswith("m: 1 of 2 as expected\n") and "pancode runs logs r-thanks" in shown


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_doctor_tries_panos_with_a_model_by_the_same_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: list[str]
) -> None:
    client = Rehearsing()
    monkeypatch.setattr(Face, "client", lambda self, **_: client)
    asked = ["doctor", "panos", "--model", "m", *as_json]
    assert run(asked) == ExitCode.DONE
    assert client.budgets == [("chain", "1"), ("question", "0.60"), ("thanks", "0.20")]
    assert "r-thanks" in capsys.readouterr().out
    assert run(["doctor", "panos"]) == ExitCode.USAGE
