"""The script for a machine with a GPU says that all holds where a fleet answers as PanCode does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.on_a_machine import GIB, TAKES, Machine, prove


class Fleet(Machine):
    """Answers commands as a fleet with one GPU: in JSON if a command asks for it, else in words for a user,
    which name a run only in parentheses."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, folder, standin=False)
        self.rule, self.free, self.sees = "all", 78 * GIB, dict[str, bool]()

    def call(self, *words: str) -> tuple[int, str]:
        match words:
            case ("dispatch", *_):
                return self._dispatch(words)
            case ("node", "set", _, "--gpus", rule):
                self.rule = rule
            case ("fleet", "status", "--json"):
                return 0, self._answer({"nodes": [{"gpus": [{"memory_free": self.free, "holder": None}]}]})
            case ("fleet", "status"):
                return 0, "gpubox  online  1x H100 80G, 78G free"
            case ("runs", "show", run, "--json"):
                return 0, self._answer({"state": "running" if run == "r-000002" else "ended"})
            case ("runs", "logs", run):
                return (0, "PROBE 1 H100" if self.sees[run] else "no CUDA") if run else (4, "error: no run")
            case ("why", run):
                return 0, f"{run} waits for a GPU: r-000002 holds it"
        return 0, ""

    def _dispatch(self, words: tuple[str, ...]) -> tuple[int, str]:
        if {"two", "2", "900g"} & {*words}:
            return 2, "error: not possible\n  fix: change it"
        run = f"r-{len(self.sees) + 1:06}"
        asks, held = (
            "--gpus" in words and "0" not in words,
            len(self.sees) == 3,
        )  # beside the first that waits
        self.sees[run] = asks or (self.rule == "all" and not held)
        if any(TAKES in word for word in words):
            self.free -= 10 * GIB
        done = {"run": run, "outcome": "done"}
        return 0, self._answer(
            done
        ) if "--json" in words else f"done: no change on gpubox ({run}, 1 s, $0.00)"

    @staticmethod
    def _answer(data: dict[str, Any]) -> str:
        return json.dumps(data)


def test_all_holds_where_the_fleet_answers_as_it_does_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    fleet = Fleet(tmp_path)
    prove(fleet)
    assert fleet.failed == [], capsys.readouterr().out
