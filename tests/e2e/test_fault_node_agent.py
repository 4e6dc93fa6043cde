"""The node agent is killed at each mark of the journal, and the shim while it works; nothing is lost."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from node_agent.wire.identity import Mark
from tests.crowd import crowded
from tests.e2e.ground import Ground, money
from tests.e2e.owner import Owner, script, until
from tests.lab import Lab

pytestmark = pytest.mark.slow

ROUNDS = (
    (Mark.ACCEPTED, Mark.PREPARED, Mark.SPAWNED),
    (Mark.EXITED, Mark.COMMITTED, Mark.GATED),
    (Mark.PUSHED, Mark.RECEIPTED, Mark.ACKNOWLEDGED),
)
"""One mark for each host at a time."""


TRIES = 12
"""Where the next mark follows within a moment, a busy node may need more than one."""


@pytest.fixture
def nimble() -> Iterator[None]:
    """Three watchers in three threads: none may keep the others from looking for 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0002)
    yield
    sys.setswitchinterval(before)


def _caught(fleet: Owner, lab: Lab, k: int, mark: Mark) -> list[tuple[str, dict[str, Any], str]]:
    """Runs, until one agent was killed in the very moment; the last one was."""
    found = []
    for _ in range(TRIES):
        found.append(_killed(fleet, lab, k, mark))
        if found[-1][2] == mark:
            break
    return found


def _killed(fleet: Owner, lab: Lab, k: int, mark: Mark) -> tuple[str, dict[str, Any], str]:
    """(run, how it ended, the newest mark when the agent died)."""
    host = Ground(fleet, lab, k)
    once = f"/tmp/once-{mark}"  # outside the checkout, so that a second start would show
    task = script(f"append {once} x", "write made.txt 'y\\n'", "usage 10 5 0.01", "sleep 0.5")
    known = host.names()
    words = ("--runtime", "scripted", "--node", host.name, "--verify", "test -f made.txt", "--budget", "0.02")
    asked = fleet.begin("dispatch", "--detach", "--json", *words, task, cwd=fleet.home / "killed")
    died_at = host.kill_at(mark.value, known)
    run = str(json.loads(asked.communicate(timeout=30 * crowded())[0])["run"])
    ended = fleet.ended(run, 60)
    until(lambda: host.cleaned(run), f"{run} is put away on {host.name}", 40)
    assert host.shell(f"cat {once}; rm -f {once}") == "x", "the agent ran exactly once"
    return run, ended, died_at


@pytest.mark.parametrize("marks", ROUNDS, ids=lambda marks: "-".join(marks))
def test_killed_at_each_mark_it_is_started_again_and_delivers_once(
    fleet: Owner, lab: Lab, nimble: None, marks: tuple[Mark, ...], no_sandboxes: None
) -> None:
    if not (fleet.home / "killed").exists():
        fleet.repository("killed")
    spent, held = money(fleet)
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(_caught, fleet, lab, k, mark) for k, mark in enumerate(marks, 1)]
        results = [job.result() for job in jobs]
    for mark, found in zip(marks, results, strict=True):
        assert found[-1][2] == mark, f"caught in the very moment: {[died_at for _, _, died_at in found]}"
        for run, ended, _ in found:
            assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, 1), (mark, ended)
            assert (ended["files_changed"], ended["exit_code"]) == (["made.txt"], 0)
            assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"
    cost = Decimal("0.01") * sum(len(found) for found in results)
    assert money(fleet) == (spent + cost, held), "each cost was booked once"


def test_a_killed_shim_is_infra_and_the_work_is_tried_once_more(
    fleet: Owner, lab: Lab, no_sandboxes: None
) -> None:
    host = Ground(fleet, lab, 2)
    run = fleet.dispatch(
        *("--runtime", "scripted", "--node", host.name, "--workspace", "none"),
        script("fork 300", "await /tmp/shim-was-killed 60", "answer ok"),
    )
    fleet.running(run)
    until(lambda: host.running("sleep", "300"), "the agent runs")
    host.kill_shim(run)
    host.shell("touch /tmp/shim-was-killed")
    ended = fleet.ended(run, 60)
    host.shell("rm -f /tmp/shim-was-killed")
    assert (ended["outcome"], ended["attempt"]) == ("done", 2), ended
    first = next(a for a in ended["attempts"] if a["attempt"] == 1)
    assert first["outcome"] == "infra", first
    story = fleet.ask("why", run)["decisions"]
    assert any(d["kind"] == "retry" for d in story), story
    assert not host.running("sleep", "300"), "what the dead shim left was swept"
    assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"


def test_a_killed_shim_ends_a_run_that_was_to_be_tried_once(fleet: Owner, lab: Lab) -> None:
    host = Ground(fleet, lab, 2)
    words = ("--runtime", "shell", "--node", host.name, "--workspace", "none", "--attempts", "1")
    run = fleet.dispatch(*words, "exec sleep 301")
    fleet.running(run)
    until(lambda: host.running("sleep", "301"), "the agent runs")
    host.kill_shim(run)
    ended = fleet.ended(run, 60)
    assert (ended["outcome"], ended["attempt"], len(ended["attempts"])) == ("infra", 1, 1), ended
    assert not host.running("sleep", "301"), "what the dead shim left was swept"
