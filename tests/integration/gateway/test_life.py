"""How long a gateway lives, and that it is found again: by its attempt's folder alone."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node_agent.attempt.plans import SETUP
from node_agent.attempt.ports import StepFailed
from node_agent.gateway import spec as places
from node_agent.gateway.program import PATIENCE_S, Life
from node_agent.shim import process
from tests.fakemodel import FakeModel, preset
from tests.integration.gateway.gateways import KEY, Agent, Lab, job_of, until
from tests.integration.test_fakemodel import request

SERVER = "http://127.0.0.1:9"


@contextmanager
def shim(agent: Agent) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has taken the folder of the work, as far as its record says."""
    child = subprocess.Popen(["sleep", "600"])
    found = process.read_stat(child.pid)
    assert found is not None
    record = {"boot": process.boot_id(), "pid": child.pid, "start": found.start}
    (agent.folder / "spawned").write_text(json.dumps(record))
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def test_it_ends_with_the_shim_of_the_work(lab: Lab) -> None:
    lab.point("claude", SERVER)
    agent = lab.open(job_of("claude"))
    with shim(agent):
        assert agent.pid and lab.gateways.is_alive(agent.folder)
    until(lambda: not lab.gateways.is_alive(agent.folder))
    assert places.read_count(agent.folder) is not None


def test_another_start_of_the_node_agent_finds_it_with_the_same_door(lab: Lab) -> None:
    lab.point("claude", SERVER)
    job = job_of("claude")
    agent = lab.open(job)
    pid = agent.pid
    again = lab.fresh()
    assert again.open(job, agent.folder) == agent.entry
    assert agent.pid == pid and again.is_alive(agent.folder)
    again.close(agent.folder)
    until(lambda: not lab.gateways.is_alive(agent.folder))


def test_one_that_died_before_the_start_is_opened_anew_behind_the_same_door(lab: Lab) -> None:
    with FakeModel({**preset("text"), "api_key": KEY}) as model:
        lab.point("claude", model.url)
        job = job_of("claude")
        agent = lab.open(job)
        agent.kill()
        assert lab.gateways.open(job, agent.folder) == agent.entry
        path, body = request("anthropic", True)
        assert agent.post(path, body)[0] == 200


def test_a_door_that_was_taken_meanwhile_is_a_fault_of_the_node(lab: Lab) -> None:
    lab.point("claude", SERVER)
    agent = lab.open(job_of("claude"))
    agent.kill()
    with socket.create_server(("127.0.0.1", agent.entry.port)), pytest.raises(StepFailed, match="in use"):
        lab.gateways.open(job_of("claude"), agent.folder)


def test_its_socket_is_for_any_user_behind_a_wall_and_may_lie_at_any_depth(lab: Lab) -> None:
    lab.point("claude", SERVER)
    lab.root = lab.root / ("d" * 100)
    lab.root.mkdir()
    agent = lab.open(job_of("claude"))
    path = agent.folder / "gate" / "model.sock"
    assert path.stat().st_mode & 0o777 == 0o666
    assert path.parent.stat().st_mode & 0o777 == 0o711
    assert [each.name for each in path.parent.iterdir()] == ["model.sock"], "what a sandbox may see"


def test_without_a_key_or_a_server_there_is_none(lab: Lab, tmp_path: Path) -> None:
    assert lab.gateways.open(job_of("claude"), tmp_path) is None
    assert lab.gateways.open(job_of("shell"), tmp_path) is None
    lab.values |= {"CLAUDE_CODE_OAUTH_TOKEN": "t", "ANTHROPIC_BASE_URL": "http://another"}
    assert lab.gateways.open(job_of("claude"), tmp_path) is None
    lab.gateways.close(tmp_path)
    assert lab.gateways.count(tmp_path) is None and not lab.gateways.is_alive(tmp_path)


def test_a_price_that_is_none_is_said(lab: Lab) -> None:
    lab.point("claude", SERVER)
    lab.prices["m"] = "cheap"
    with pytest.raises(StepFailed, match=r"prices\.json.*'cheap'"):
        lab.open(job_of("claude"))


def test_it_waits_for_a_set_up_however_long(tmp_path: Path) -> None:
    (tmp_path / places.FOLDER).mkdir()
    places.write_record(tmp_path)
    life = Life(tmp_path, 0.0, 10_000.0)
    (tmp_path / SETUP).mkdir()
    (tmp_path / SETUP / "spawned").write_bytes((tmp_path / places.FOLDER / places.RECORD).read_bytes())
    assert not life.is_over(2 * PATIENCE_S)
    (tmp_path / SETUP / "spawned").unlink()
    assert not life.is_over(2.9 * PATIENCE_S) and life.is_over(3 * PATIENCE_S)
