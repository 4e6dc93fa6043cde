"""What the native worker loads to do its work: counted in modules, for time is the machine's affair."""

from __future__ import annotations

import os
import subprocess
import sys
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
status = main(sys.argv)
sys.stderr.write(" ".join(sys.modules))
sys.stderr.flush()
os._exit(status)
"""
NOT_ON_NODES = {"rich", "click", "pygments", "httpx", "httpcore", "certifi", "markdown_it", "mdurl"}
"""Here by chance, as others need them; the libraries take them along where they are there."""
BUDGET = {"openai": 320, "pydantic_ai": 230, "": 1_160}
"""Modules by package, a tenth above what they were; the last: all that there are on a node."""
UNUSED = (
    "beta",
    "graders",
    "evals",
    "realtime",
    "fine_tuning",
    "vector_stores",
    "containers",
    "conversations",
)


@pytest.fixture
def loaded(tmp_path: Path) -> set[str]:
    """After a whole run with two tool calls."""
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
    return {name for name in done.stderr.split() if name.partition(".")[0] not in NOT_ON_NODES}


def test_it_loads_no_more_than_it_did(loaded: set[str]) -> None:
    count = Counter(name.partition(".")[0] for name in loaded)
    found = {"openai": count["openai"], "pydantic_ai": count["pydantic_ai"], "": len(loaded)}
    assert {name: number for name, number in found.items() if number > BUDGET[name]} == {}, found
    assert [name for name in loaded if name.startswith(tuple(f"openai.types.{one}" for one in UNUSED))] == []
    others = ("anthropic", "google", "groq", "mistralai", "huggingface_hub", "logfire", "tiktoken")
    assert [name for name in loaded if name.partition(".")[0] in others] == []


ALL = """
import sys
if sys.argv[1] == "spared":
    sys.path.insert(0, sys.argv[2])
    from node_agent.native.sparing import spare
    spare("openai.types")
import importlib, pkgutil, openai.types as top
packages = [top, *(importlib.import_module(one.name)
    for one in pkgutil.walk_packages(top.__path__, "openai.types.") if one.ispkg)]
for package in packages:
    for name in package.__all__ if sys.argv[1] == "spared" else dir(package):
        value = getattr(package, name)
        if not name.startswith("_") and name != "annotations":
            told = getattr(value, "__module__", ""), getattr(value, "__qualname__", str(value))
            print(package.__name__, name, *told)
"""


@pytest.mark.slow
def test_every_name_of_the_clients_types_is_the_same_as_without_sparing() -> None:
    """Modules beside them are there either way; who asks for one gets it."""

    def told(how: str) -> set[str]:
        argv = [sys.executable, "-c", ALL, how, str(Path(__file__).parents[3])]
        return set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines())

    spared, plain = told("spared"), told("plain")
    assert len(spared) > 300 and spared <= plain
    assert {one for one in plain - spared if "<module " not in one} == set()
