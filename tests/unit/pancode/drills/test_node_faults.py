"""A fault for a node: refused beside other work, and the script kills no other process than the one meant."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.shim.process import boot_id, read_stat
from pancode.drills.model import MARK
from pancode.drills.node_faults import KILL, must_be_drilled
from pancode.kernel.errors import RefusedError
from tests.crowd import until
from tests.unit.pancode.interfaces.http.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_other_work_on_the_node_is_not_disturbed(world: World) -> None:
    drilled = str(world.dispatch(task=f"{MARK}d-1\ntrue", runtime="shell")["run"])
    node = "n1"
    must_be_drilled(world.context.core, node, drilled)
    with pytest.raises(RefusedError, match="no fault is injected"):
        must_be_drilled(world.context.core, node, "r-unknown")
    other = str(world.dispatch()["run"])
    with pytest.raises(RefusedError) as refused:
        must_be_drilled(world.context.core, node, drilled)
    assert other in refused.value.why and refused.value.fix == f"pancode logs -f {other}"
    told = world.problem("POST", f"/v1/nodes/{node}/fault", {"fault": "agent", "run": drilled})
    assert told["exit_code"] == 5 and other in told["why"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A node home with a node agent, which names it, and the record of a shim."""
    (tmp_path / "run").mkdir()
    spawned = tmp_path / "journal/r-1.1.1" / "spawned"
    spawned.parent.mkdir(parents=True)
    running = [subprocess.Popen(["sh", "-c", "sleep 60; :", str(tmp_path)]) for _ in range(2)]
    (tmp_path / "run/agent.pid").write_text(f"{running[0].pid}\n")
    shim = read_stat(running[1].pid)
    assert shim is not None
    spawned.write_text(json.dumps({"boot": boot_id(), "pid": shim.pid, "start": shim.start}))
    yield tmp_path
    for process in running:
        process.kill()
        process.wait()


def run_script(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-s", "--", *words], input=KILL, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("fault", "file"), [("agent", "run/agent.pid"), ("shim", "journal/r-1.1.1/spawned")])
def test_only_the_process_that_is_meant_is_killed(home: Path, fault: str, file: str) -> None:
    foreign = subprocess.Popen(["sh", "-c", "sleep 60; :", f"{home}2"])
    try:
        text = (home / file).read_text()
        record = {**json.loads(text), "pid": foreign.pid, "start": 1} if fault == "shim" else foreign.pid
        (home / file).write_text(f"{json.dumps(record)}\n")
        refused = run_script(fault, str(home), "r-1")
        assert refused.returncode == 72 and "another process" in refused.stderr and foreign.poll() is None
        (home / file).write_text(text)
        assert run_script(fault, str(home), "r-1").returncode == 0
    finally:
        foreign.kill()
        foreign.wait()
    pid = json.loads(text)["pid"] if fault == "shim" else int(text)
    until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z", "it is killed", 10)


def test_a_node_agent_that_does_not_run_is_an_error(home: Path) -> None:
    (home / "run/agent.pid").unlink()
    assert run_script("agent", str(home), "r-1").returncode == 71
    assert run_script("shim", str(home), "r-2").returncode == 71
