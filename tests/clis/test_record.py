"""The golden streams of the native worker are what it writes today; it is here on every node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clis.left import end_all_in
from tests.clis.record import CLIS, GOLDEN, SCENES, record

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", sorted(SCENES.keys() - {"http-429", "http-500", "bad-stream", "cut-stream"}))
def test_recorded_anew_it_is_the_same(tmp_path: Path, case: str) -> None:
    """But for those that wait five seconds each, which differ in what the server said alone."""
    try:
        record(CLIS["native"], case, tmp_path / "b", tmp_path / "new")
    finally:
        end_all_in(tmp_path / "b")
    golden = GOLDEN / "native"
    assert events(tmp_path / "new", case) == events(golden, case), "record it: python -m tests.clis.record"
    for kind in ("exit", "stderr"):
        assert (tmp_path / "new" / f"{case}.{kind}").read_text() == (golden / f"{case}.{kind}").read_text()


def events(folder: Path, case: str) -> list[Any]:
    """How text is cut into pieces is a matter of time: pieces that follow each other are one."""
    found: list[Any] = []
    for line in (folder / f"{case}.stdout").read_text().splitlines():
        event = json.loads(line)
        if event["type"] == "said" and found and found[-1]["type"] == "said":
            found[-1]["text"] += event["text"]
        else:
            found.append(event)
    return found
