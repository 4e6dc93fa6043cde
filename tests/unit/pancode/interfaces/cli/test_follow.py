"""What a user is told while a snapshot is taken."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.interfaces.cli.follow import Snapshots
from pancode.interfaces.cli.output import Face


def _one(project: str, done: int, of: int) -> dict[str, Any]:
    return {"snapshots": [{"run": "r-1", "project": project, "done": done, "of": of}]}


def test_only_of_the_callers_project_and_each_once(capsys: pytest.CaptureFixture[str]) -> None:
    said = Snapshots(Face(as_json=False), "/home/ana/p/src")
    for done, of in ((0, 0), (40_000, 100_000), (40_000, 100_000)):
        said.show(_one("/home/ana/p", done, of))
    said.show(_one("/home/ana/other", 1, 2))
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["taking a snapshot", "taking a snapshot: 40,000 of 100,000 files"]


def test_who_asked_for_json_is_spared(capsys: pytest.CaptureFixture[str]) -> None:
    Snapshots(Face(as_json=True), "/home/ana/p").show(_one("/home/ana/p", 1, 2))
    assert capsys.readouterr() == ("", "")
