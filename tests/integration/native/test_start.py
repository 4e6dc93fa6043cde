"""What the native worker loads, before its first event and in all: in modules, as time is the machine's."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.clis.launched import NATIVE, Bench
from tests.crowd import crowded
from tests.fakemodel import FakeModel, preset

RUN = """
import os, sys
sys.path[:0] = [os.path.dirname(sys.argv[1]), sys.argv[2]]
from node_agent.native.program import main
def written(fd, data, write=os.write):
    early.extend([] if early else sys.modules)
    return write(fd, data)
early, os.write = [], written
status = main(sys.argv)
sys.stderr.write(" ".join(early) + "\\n" + " ".join(sys.modules))
sys.stderr.flush()
os._exit(status)
"""
EARLY, MOST = 345, 470
"""Modules, a tenth above what they were; with the client that the first question loads."""
NEVER = {"openai", "pydantic_ai", "rich", "click", "certifi", "trio", "redis", "cryptography"}


@pytest.fixture
def loaded(tmp_path: Path) -> list[set[str]]:
    """Before its first event, and after a whole run with two tool calls."""
    with FakeModel({"cwd": str(tmp_path / "b" / "work"), **preset("edit")}) as model:
        bench = Bench(NATIVE, tmp_path / "b", os.defpath, model.url)
        request = bench.request()
        bench.start(request).wait(60 * crowded())  # lays out its files
        python, isolated, bare, _, *given = bench.launch(request).argv
        with (bench.home / "stdin").open("rb") as stdin:
            env = dict(bench.launch(request).env)
            argv = [python, isolated, bare, "-c", RUN, *given]
            done = subprocess.run(argv, stdin=stdin, env=env, cwd=bench.work, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
    return [set(line.split()) for line in done.stderr.splitlines()]


def test_it_loads_no_more_than_it_did(loaded: list[set[str]]) -> None:
    early, whole = loaded
    packages = [{name.partition(".")[0] for name in one} for one in loaded]
    assert len(early) <= EARLY and len(whole) <= MOST, Counter(n.partition(".")[0] for n in whole)
    assert "httpx2" in packages[1] - packages[0] and packages[1] & NEVER == set()
