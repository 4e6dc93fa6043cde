"""A long talk does not make our programs on a node grow: 300 turns in 150 MB each. The rest: `make bench`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from node_agent.machine.programs import LIBRARIES, PACKAGE
from node_agent.runtimes.base import Place, Runtime
from node_agent.runtimes.others import OtherAgent, runtime_of
from node_agent.runtimes.registry import RUNTIMES
from node_agent.shim.spool import Ended, Running
from node_agent.wire.identity import MESSAGES_KEY, messages_in, seal_text, turn_control_file
from node_agent.wire.job import TurnTerms
from node_agent.wire.policy import Isolation
from node_agent.wiring import ASKER
from node_agent.workspace.folders import write_below
from node_agent.workspace.homes import write_file
from tests.bench.processes import peak_kib
from tests.clis.launched import NATIVE
from tests.fakemodel import FakeModel
from tests.integration.shim_phases import Phases, phases_in, until
from tests.unit.node_agent.native.test_words import SECRET, laid
from tests.unit.node_agent.runtimes.asked import LIMITS, ask

pytestmark = pytest.mark.slow
MOST, FEW, MOST_EACH = 150 << 20, 10, 64 << 10
"""Of memory, at any time; after so many turns it grows by no more with each."""
PEER = Path(__file__).parents[2] / "unit/node_agent/acp/peer.py"


@pytest.fixture
def phases(tmp_path: Path) -> Iterator[Phases]:
    yield from phases_in(tmp_path)


@pytest.fixture
def url(turns: int) -> Iterator[str]:
    server = FakeModel({"count": "assistant", "turns": [{"text": f"Answer {n}."} for n in range(turns)]})
    yield server.start().url
    server.stop()


@pytest.mark.parametrize("turns", [40, 300])
@pytest.mark.parametrize("which", ["acp:peer", "native"])
def test_the_shim_and_our_program_below_it(
    which: str, turns: int, phases: Phases, url: str, tmp_path: Path
) -> None:
    """The native worker, and our program between the shim and an agent."""
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    entry = OtherAgent(argv=(sys.executable, "-I", str(PEER), "plain", str(tmp_path / "x")))
    runtime: Runtime = RUNTIMES[which] if which in RUNTIMES else runtime_of("peer", entry, ASKER)
    limits = LIMITS.model_copy(update={"wall_ms": 600_000, "output_bytes": 1 << 26})
    terms = TurnTerms(idle_ms=60_000, turn_ms=60_000)
    model = NATIVE.model if which == "native" else None
    asked = ask(workspace=str(work), home=str(home), interactive_run=terms, limits=limits, model=model)
    login = NATIVE.env(url)
    place = Place(os.environ["PATH"], sys.executable, False, Isolation.SANDBOX, login, PACKAGE, LIBRARIES)
    made = runtime.launch(asked, place)
    for name, data in {**made.files, MESSAGES_KEY: SECRET.encode(), "stdin": made.stdin}.items():
        write_below(home, name, data)
    folder, plan = phases.plan(list(made.argv), stdin=str(home / "stdin"))
    who = plan.marker
    phases.runner.start(folder, replace(plan, cwd=str(work), env=dict(made.env)))
    most, early, said, ended = {"shim": 0, "program": 0}, {"shim": 0, "program": 0}, 0, 0
    out0 = folder.parent / "out0"
    with until(lambda: out0 if out0.exists() else None).open("rb") as out:
        while not isinstance(seen := phases.runner.look(folder), Ended):
            ended += out.read().count(b'{"type": "turn_end"')
            if ended > said:  # words that come during a turn would become a part of it
                said += 1
                name, data = (str(said), laid(said, f"words {said}"))
                if said == turns:
                    name, data = turn_control_file("rest", turns), seal_text(SECRET, turns, "rest").encode()
                write_file(home, messages_in(who), name, data)
            for name, pid in (
                (("shim", seen.shim), ("program", seen.pid)) if isinstance(seen, Running) else ()
            ):
                with suppress(OSError, ValueError):
                    most[name] = max(most[name], peak_kib(pid))
            early = dict(most) if ended <= FEW else early
            time.sleep(0.01)
    (step,) = phases.finish(folder).steps
    events = [json.loads(line) for line in out0.read_text().splitlines()]
    ends = [one["stop"] for one in events if one["type"] == "turn_end"]
    assert ends == ["end_turn"] * turns and step.ok
    assert all(0 < kib << 10 <= MOST for kib in most.values()), most
    assert all((most[name] - early[name]) << 10 <= MOST_EACH * (turns - FEW) for name in most), (early, most)
