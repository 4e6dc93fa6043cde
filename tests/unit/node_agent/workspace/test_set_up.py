"""Set-up that is put back instead of run: once for each attempt, and only where nothing differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node_agent.shim.spool import Ended
from node_agent.wire.control import StopControl
from node_agent.wire.event import Refused, Revoked
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job, Limits, Workspace
from tests.fakes.node import Crash, MemoryRunner, Script
from tests.fakes.node.places import EMPTIED, IDLE_MS
from tests.unit.node_agent.stage import Stage, gates, identity, job_of

FIRST, SECOND = identity("r-first"), identity("r-second")
SCRIPT = Script(setup_ms=700, setup_files=("venv.cfg",))


def job(who: AttemptId, **changes: Any) -> Job:
    base = {"identity": who, "setup": (("npm", "ci"),), "cache": ("node_modules",), "gates": gates("test")}
    return job_of(**{**base, **changes})


def phases(stage: Stage, who: AttemptId) -> list[str]:
    """What was started of it, in order."""
    ways = [folder.split("/")[2:] for folder in stage.host.spawns]
    return ["/".join(way[1:]) or "work" for way in ways if way[0] == str(who)]


def after_one(script: Callable[[AttemptId], Script] = lambda _: SCRIPT) -> Stage:
    """A node that has kept what one set-up made."""
    stage = Stage(script=script)
    run(stage, FIRST)
    return stage


def run(stage: Stage, who: AttemptId, **changes: Any) -> None:
    late = stage.now().model_copy(update={"ms": stage.now().ms + 60_000})
    stage.push(job(who, start_by=late, **changes))
    stage.settle()


def test_the_second_time_it_is_put_back() -> None:
    stage = after_one()
    assert phases(stage, FIRST) == ["set-up", "work", "gates"] and len(stage.host.cache) == 1
    run(stage, SECOND)
    claims = stage.claims[str(SECOND)]
    assert phases(stage, SECOND) == ["work", "gates"]
    assert (claims.outcome, claims.files_changed, claims.findings) == (Outcome.DONE, ("a.txt",), ())
    assert stage.depot.blobs[(str(SECOND), "setup")].startswith(b"set-up was not run")
    assert (str(FIRST), "setup") not in stage.depot.blobs
    assert f"/journal/{SECOND}/set-up" in stage.host.forgotten


def test_a_read_only_agent_behind_what_was_put_back() -> None:
    stage = after_one(lambda _: Script(kind="empty", setup_files=("venv.cfg",)))
    run(stage, SECOND, read_only=True)
    claims = stage.claims[str(SECOND)]
    assert (claims.outcome, claims.change, claims.commit) == (Outcome.DONE, "empty", None)


def test_nothing_is_kept_of_a_set_up_that_a_power_cut_overtook() -> None:
    """Its record is durable, and what it made is not: a copy would be torn for all that come later."""
    stage = Stage(script=lambda _: SCRIPT)
    stage.push(job(FIRST))
    assert stage.go(20_000, lambda: phases(stage, FIRST) == ["set-up"])
    stage.clock.advance(SCRIPT.setup_ms)
    assert isinstance(MemoryRunner(stage.host).look(Path(f"/journal/{FIRST}/set-up")), Ended)
    stage.host.power_cut()
    stage.shelf.power_cut()
    stage.agent = stage.start()
    stage.settle()
    assert stage.claims[str(FIRST)].failure is FailureKind.NODE_REBOOTED
    assert stage.host.cache == {} and stage.host.built_on_torn == []


@pytest.mark.parametrize("changes", [{"setup": (("npm", "i"),)}, {"cache": ("lib",)}, {"cache": ()}])
def test_another_recipe_is_set_up_anew(changes: dict[str, Any]) -> None:
    stage = after_one()
    run(stage, SECOND, **changes)
    anew = ["anew"] if changes == {"cache": ()} else []
    assert phases(stage, SECOND) == ["set-up", "work", *anew, "gates"]


def test_another_lockfile_and_another_repository() -> None:
    stage = after_one()
    stage.host.lockfile = "2"
    run(stage, SECOND)
    stranger = Workspace(kind="git", repo="repo-2", base="a" * 40, snapshot="a" * 40)
    run(stage, identity("r-third"), workspace=stranger)
    assert [folder.split("/")[-1] for folder in stage.host.spawns].count("set-up") == 3
    assert len(stage.host.cache) == 3


def test_without_a_lockfile_nothing_is_kept_and_the_receipt_says_so() -> None:
    stage = Stage(script=lambda _: SCRIPT)
    stage.host.lockfile = None
    run(stage, FIRST)
    claims = stage.claims[str(FIRST)]
    assert claims.outcome is Outcome.DONE and stage.host.cache == {}
    assert claims.findings == ("nothing of set-up is cached: there is no lockfile",)
    assert phases(stage, FIRST) == ["set-up", "work", "anew", "gates"]


def test_set_up_that_fails_is_not_kept() -> None:
    stage = after_one(lambda _: Script(setup_code=1))
    assert stage.claims[str(FIRST)].failure is FailureKind.SETUP_FAILED and stage.host.cache == {}


def test_why_it_is_not_kept_is_in_the_receipt() -> None:
    stage = Stage(script=lambda _: SCRIPT)

    def full_just_then(what: str) -> None:
        stage.host.full = what == "before workspaces.keep"

    stage.wire.pass_by = full_just_then  # type: ignore[method-assign]
    run(stage, FIRST)
    claims = stage.claims[str(FIRST)]
    assert claims.outcome is Outcome.DONE and stage.host.cache == {}
    assert claims.findings == ("the result of set-up was not stored for later attempts: the disk is full",)


def test_all_of_the_time_is_the_agents() -> None:
    limits = Limits(wall_ms=2_000, idle_ms=600_000, output_bytes=1 << 20)
    stage = after_one(lambda _: Script(setup_ms=1_500, duration_ms=1_500, setup_files=("x",)))
    run(stage, identity("r-anew"), limits=limits, setup=(("other",),))
    assert stage.claims["r-anew.1.1"].failure is FailureKind.WALL_LIMIT
    run(stage, SECOND, limits=limits, gates=())
    assert stage.claims[str(SECOND)].outcome is Outcome.DONE


def test_what_nobody_used_for_two_weeks_goes() -> None:
    stage = after_one()
    stage.clock.advance(IDLE_MS + 1)
    stage.turn()
    assert stage.host.cache == {}


# -- at every moment of an attempt whose set-up is put back --------------------------------------


def at_every_point(action: Callable[[Stage], None]) -> Iterator[tuple[str, Stage]]:
    clean = after_one()
    before = clean.wire.count
    run(clean, SECOND)
    for at in range(before + 1, clean.wire.count + 1):
        stage = after_one()
        assert stage.wire.count == before
        stage.wire.at, stage.wire.action = at, lambda stage=stage: action(stage)  # type: ignore[misc]
        run(stage, SECOND)
        yield f"point {at}: {stage.wire.passed[at - 1]}", stage


def check_one_end(where: str, stage: Stage) -> str:
    spawns = stage.host.spawns
    assert len(spawns) == len(set(spawns)), where
    entry = stage.journal.get(SECOND)
    assert entry is not None and entry.cleaned, (where, entry)
    if any(isinstance(body, Revoked | Refused) for body in stage.bodies(SECOND)):
        assert phases(stage, SECOND) == [] and str(SECOND) not in stage.receipts, where
        return "never began"
    assert len(stage.receipts[str(SECOND)]) == 1, where
    claims = stage.claims[str(SECOND)]
    assert not {"venv.cfg", EMPTIED} & set(claims.files_changed), where
    return claims.outcome.value


def _die(stage: Stage) -> None:
    raise Crash


def test_a_crash_at_every_call() -> None:
    for where, stage in at_every_point(_die):
        assert stage.crashes == 1 and check_one_end(where, stage) == "done", where
        assert phases(stage, SECOND) == ["work", "gates"], where
        assert stage.claims[str(SECOND)].files_changed == ("a.txt",), where


def test_a_crash_and_a_cache_that_is_empty_then() -> None:
    """What was half put back is taken away, and set-up runs, unless the journal has it that it need not."""

    def lose(stage: Stage) -> None:
        stage.host.cache.clear()
        raise Crash

    seen = set()
    for where, stage in at_every_point(lose):
        assert check_one_end(where, stage) == "done", where
        seen.add(tuple(phases(stage, SECOND)))
    assert seen == {("work", "gates"), ("set-up", "work", "gates"), ("work", "anew", "gates")}


def test_a_crash_and_an_entry_that_came_meanwhile() -> None:
    """A set-up whose plan was laid out is not run when somebody else's result is put back after the crash."""
    stage = Stage(script=lambda _: SCRIPT)
    run(stage, FIRST)
    kept = dict(stage.host.cache)
    stage.host.cache.clear()

    def come(stage: Stage = stage) -> None:
        stage.host.cache.update(kept)
        raise Crash

    start = stage.wire.pass_by

    def pass_by(what: str) -> None:
        start(what)
        if what == "after runner.prepare" and stage.crashes == 0 and not stage.host.cache:
            come()

    stage.wire.pass_by = pass_by  # type: ignore[method-assign]
    run(stage, SECOND)
    assert stage.crashes == 1 and check_one_end("come", stage) == "done"
    assert phases(stage, SECOND) == ["work", "gates"]
    assert f"/journal/{SECOND}/set-up" in stage.host.forgotten  # nothing of its environment stays


def test_a_stop_at_every_call() -> None:
    def stop(stage: Stage) -> None:
        stage.tell(StopControl(identity=SECOND, reason="enough"))

    seen = {check_one_end(where, stage) for where, stage in at_every_point(stop)}
    assert seen == {"never began", "interrupted", "done"}


def test_a_power_cut_at_every_call() -> None:
    def power_cut(stage: Stage) -> None:
        stage.host.power_cut()
        stage.shelf.power_cut()
        raise Crash

    assert {check_one_end(where, stage) for where, stage in at_every_point(power_cut)} == {"done", "infra"}
