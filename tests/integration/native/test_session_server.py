"""A resumed session: only the server that answered before gets what only that server can read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from node_agent.runtimes.base import Resume
from tests.clis.launched import NATIVE, Bench
from tests.fakemodel import FakeModel
from tests.fakemodel.state import Log

THOUGHT = "I look first."
FIRST = {"reasoning": THOUGHT, "call": {"name": "read", "arguments": {"path": "notes.txt"}}}
DONE = {"text": "Done."}


@pytest.mark.parametrize("is_same", [True, False], ids=["the same server", "another server"])
def test_thoughts_go_back_to_their_own_server_alone(is_same: bool, tmp_path: Path) -> None:
    before = FakeModel({"turns": [FIRST, DONE]}, log=Log(dump_dir=f"{tmp_path}/True"))
    other = FakeModel({"turns": [DONE]}, log=Log(dump_dir=f"{tmp_path}/False"))
    with before, other:
        bench = Bench(NATIVE, tmp_path / "bench", os.defpath, before.url)
        first = bench.run(bench.request())
        assert first.session is not None and first.answer == "Done.", first.reason
        bench.url = before.url if is_same else other.url
        again = bench.run(bench.request("second", resume=Resume(first.session, first.usage)))
    assert again.answer == "Done.", again.reason
    body = json.loads(max((tmp_path / str(is_same)).iterdir()).read_text())
    message = body["messages"][2]
    assert "second" in body["messages"][-1]["content"]
    assert message["tool_calls"] and message.get("reasoning_content") == (THOUGHT if is_same else None)
