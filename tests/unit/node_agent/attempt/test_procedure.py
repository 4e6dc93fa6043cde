"""A whole run on memory ports: what comes out, and that no crash, stop, cut or full disk changes that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from node_agent.attempt.finishing import MAYBE_SHORT
from node_agent.files.durable import from_json
from node_agent.wire.control import StopControl
from node_agent.wire.event import Interrupting, Marked, Refused, Revoked
from node_agent.wire.failure import FailureKind, JobRefusal, Outcome
from node_agent.wire.identity import Mark
from node_agent.wire.job import AgentSpec, Job, Limits, Workspace
from node_agent.wire.policy import Safety
from tests.fakes.node import Crash, Script, Tripwire
from tests.fakes.node.places import EMPTIED
from tests.fakes.node.runtime import MemoryRuntimes
from tests.unit.node_agent.stage import Stage, gates, identity, job_of

NAME = str(identity())
WORK = f"/journal/{NAME}"
SETUP, ANEW, GATES, AGAIN = (f"{WORK}/{phase}" for phase in ("set-up", "anew", "gates", "again"))
WITH_SETUP = Script(setup_ms=700, setup_files=("venv.cfg",))


def gated() -> Job:
    """Every phase that an attempt can have."""
    return job_of(setup=(("make", "env"),), gates=gates("test"))


def run(script: Script, **changes: object) -> Stage:
    stage = Stage(script=lambda _: script)
    stage.push(job_of(**changes))
    stage.settle()
    return stage


def points() -> int:
    """How many moments a whole run has."""
    clean = Stage(script=lambda _: WITH_SETUP)
    clean.push(gated())
    clean.settle()
    assert clean.claims[NAME].outcome is Outcome.DONE
    assert clean.claims[NAME].files_changed == ("a.txt",)
    return clean.wire.count


def at_every_point(action: Callable[[Stage], None]) -> Iterator[tuple[str, Stage]]:
    """A run for every moment of a whole run, in which `action` happened just then; not settled yet."""
    for at in range(1, points() + 1):
        wire = Tripwire(at)
        stage = Stage(script=lambda _: WITH_SETUP, wire=wire)
        wire.action = lambda stage=stage: action(stage)  # type: ignore[misc]
        stage.push(gated())
        assert stage.go(30_000, lambda wire=wire, at=at: wire.count >= at), at  # type: ignore[misc]
        yield f"point {at}: {wire.passed[at - 1]}", stage


def check_one_end(where: str, stage: Stage) -> str:
    """Exactly one terminal word, and nothing was started twice. Answers with it."""
    spawns = stage.host.spawns
    assert len(spawns) == len(set(spawns)), where
    ends = [body for body in stage.bodies() if isinstance(body, Revoked | Refused)]
    entry = stage.journal.get(identity())
    assert entry is not None and entry.cleaned, (where, entry)
    if ends:
        assert len(ends) == 1 and NAME not in stage.receipts and not spawns, where
        return ends[0].kind
    assert len(stage.receipts.get(NAME, ())) == 1, where
    return stage.claims[NAME].outcome.value


def test_a_whole_run() -> None:
    stage = run(Script(), gates=gates("lint", "test"), setup=(("make", "env"),))
    claims = stage.claims[NAME]
    assert claims.outcome is Outcome.DONE and claims.failure is None
    assert claims.commit == stage.depot.commits[NAME]
    assert [gate.name for gate in claims.gates] == ["lint", "test"] and all(g.passed for g in claims.gates)
    assert claims.gates_on == "result" and {blob.name for blob in claims.blobs} == {"out", "gates.log"}
    assert (claims.usage.input_tokens, claims.usage.output_tokens) == (10, 5)
    assert (str(claims.usage.cost_usd), claims.usage.agent_ms) == ("0.01", 1_000)
    assert claims.answer == "did it" and claims.files_changed == ("a.txt",)
    marks = [body.mark for body in stage.bodies() if isinstance(body, Marked)]
    assert marks == [Mark(m) for m in "accepted prepared spawned exited committed gated pushed".split()]
    assert claims.last_event == max(seq for name, seq in stage.events if name == NAME)
    assert stage.uplink.settled == {}, "the coordinator closes the job when it acknowledges"
    assert stage.host.trees == {} and stage.host.homes == {}
    assert stage.host.spawns == [SETUP, WORK, ANEW, GATES]


def test_the_name_of_a_file_carries_no_value_of_a_secret_away() -> None:
    stage = Stage(
        script=lambda _: Script(files=("a-secret-value.txt", "b.txt")), secrets={"S": "secret-value"}
    )
    stage.push(job_of(agent=AgentSpec(name="reader", prompt="", tools=(), read_only=True)))
    stage.settle()
    claims = stage.claims[NAME]
    assert claims.files_changed == ("a-[secret S].txt", "b.txt")
    assert "a-[secret S].txt" in claims.reason
    assert "secret-value" not in claims.model_dump_json()
    assert not [body for body in stage.bodies() if "secret-value" in body.model_dump_json()]


def test_steps_without_work_are_told_and_not_each_written() -> None:
    stage = run(Script(), workspace=Workspace(kind="none"))
    marks = [body.mark for body in stage.bodies() if isinstance(body, Marked)]
    assert marks == [Mark(m) for m in "accepted prepared spawned exited committed gated pushed".split()]
    written = [from_json(raw) for raw in stage.shelf.read(NAME)]
    (end,) = [record for record in written if record.get("m") == Mark.GATED.value]
    assert [mark for mark, _ in end["p"]] == ["exited", "committed"]
    assert stage.claims[NAME].outcome is Outcome.DONE and stage.claims[NAME].change == "none"


def test_what_set_up_leaves_is_not_the_agents() -> None:
    claims = run(WITH_SETUP, setup=(("make", "env"),)).claims[NAME]
    assert (claims.change, claims.files_changed) == ("change", ("a.txt",))
    quiet = Script(kind="empty", setup_files=("venv.cfg",))
    claims = run(quiet, setup=(("make", "env"),), read_only=True).claims[NAME]
    assert (claims.outcome, claims.change, claims.commit) == (Outcome.DONE, "empty", None)
    guilty = run(WITH_SETUP, setup=(("make", "env"),), read_only=True).claims[NAME]
    assert guilty.reason == "a read-only agent changed: a.txt"


def test_the_receipt_has_the_digest_of_all_instructions() -> None:
    stage = Stage()
    stage.host.guide = "Use tabs."
    stage.push(gated())
    stage.settle()
    assert stage.claims[NAME].prompt_digest == hashlib.sha256(b"Build.Use tabs.").hexdigest()
    assert run(Script()).claims[NAME].prompt_digest == hashlib.sha256(b"Build.").hexdigest()


def test_a_model_that_was_not_tested_is_told() -> None:
    stage = Stage()
    stage.push(job_of(untested=True))
    stage.settle()
    (claims,) = stage.order_of_receipts
    assert any("--untested" in finding for finding in claims.findings)


def test_a_variable_without_a_value_there_is_told_with_what_gives_it_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MemoryRuntimes, "unset", ("PIP_CERT",))
    stage = Stage()
    stage.push(job_of(env=("PIP_CERT",)))
    stage.settle()
    (claims,) = stage.order_of_receipts
    (told,) = [finding for finding in claims.findings if "PIP_CERT" in finding]
    assert told.startswith("env: PIP_CERT has no value on this node; set it with pancode node secret ")


def test_a_run_without_set_up_has_no_phase_for_it() -> None:
    stage = run(Script(), gates=gates("test"))
    assert stage.host.spawns == [WORK, GATES] and SETUP not in stage.host.phases
    assert not [call for call in stage.wire.passed if "baseline" in call or "amend" in call]


def test_set_up_that_does_not_end_well() -> None:
    """The agent is not started; what set-up left half done is nobody's change."""
    failed = run(Script(setup_code=1, setup_files=("half",)), setup=(("make",),), read_only=True)
    claims = failed.claims[NAME]
    assert (claims.failure, claims.change, claims.commit) == (FailureKind.SETUP_FAILED, "empty", None)
    assert failed.host.spawns == [SETUP]
    log = b"one\ntwo\n\nthree\nERROR: no matching distribution\n"
    told = run(Script(setup_code=1, setup_log=log), setup=(("make",),)).claims[NAME].reason
    assert told.endswith("exit 1: two | three | ERROR: no matching distribution")
    stage = Stage(script=lambda _: Script(setup_ms=60_000))
    stage.push(gated())
    stage.go(5_000)
    stage.host.kill_shims()
    stage.settle()
    claims = stage.claims[NAME]
    assert (claims.failure, claims.usage.cost_source) == (FailureKind.PROCESS_VANISHED, "local")
    assert stage.host.spawns == [SETUP]


def test_set_up_that_a_reboot_cuts_ends_and_does_not_wait() -> None:
    """Also by a power cut, and however long set-up would have continued."""
    for cut in ("reboot", "power_cut"):
        stage = Stage(script=lambda _: Script(setup_ms=600_000))
        stage.push(gated())
        stage.go(5_000)
        assert stage.host.spawns == [SETUP]
        getattr(stage.host, cut)()
        stage.shelf.power_cut()
        stage.agent = stage.start()
        stage.go(10_000)
        claims = stage.claims[NAME]
        assert (claims.outcome, claims.failure) == (Outcome.INFRA, FailureKind.NODE_REBOOTED), cut
        assert stage.host.spawns == [SETUP], cut


LATE = "it ran for longer than its time limit of 5s"
KEY = " (limits.wall, --timeout)"


@pytest.mark.parametrize(
    ("script", "spawned", "failure", "words"),
    [
        (Script(setup_ms=9_000), [SETUP], FailureKind.SETUP_FAILED, f"setup 1: {LATE}{KEY}"),
        (Script(setup_ms=3_000, duration_ms=3_000), [SETUP, WORK], FailureKind.WALL_LIMIT, LATE),
        (
            Script(setup_ms=1_000, duration_ms=2_000, gate_ms=2_500),
            [SETUP, WORK, ANEW, GATES],
            FailureKind.GATE_NOT_JUDGED,
            f"gate test was not judged: {LATE}{KEY}",
        ),
    ],
)
def test_the_wall_limit_is_for_the_whole_attempt(
    script: Script, spawned: list[str], failure: FailureKind, words: str
) -> None:
    limits = Limits(wall_ms=5_000, idle_ms=600_000, output_bytes=1 << 20)
    stage = run(script, setup=(("make", "env"),), gates=gates("test"), limits=limits)
    claims = stage.claims[NAME]
    assert (claims.failure, claims.reason, stage.host.spawns) == (failure, words, spawned)


def test_a_crash_at_every_call() -> None:
    """Before and after each port call: one receipt, the right one, and nothing started twice."""
    clean = run(WITH_SETUP, setup=(("make", "env"),), gates=gates("test"))
    for where, stage in at_every_point(lambda stage: _die()):
        stage.settle()
        assert stage.crashes == 1, where
        assert check_one_end(where, stage) == "done", (where, stage.claims[NAME].reason)
        assert stage.claims[NAME].commit == clean.claims[NAME].commit, where
        assert stage.host.spawns == clean.host.spawns, where
        marks = [body.mark for body in stage.bodies() if isinstance(body, Marked)]
        assert len(marks) == len(set(marks)), where


def _die() -> None:
    raise Crash


def test_two_crashes() -> None:
    """The second one during recovery from the first."""
    count = points()
    for first in range(3, count, 7):
        for later in range(1, 30, 4):
            stage = Stage(wire=Tripwire(first))
            stage.push(gated())
            while stage.crashes == 0 and stage.clock.ms < 1_030_000:
                stage.go(500, lambda stage=stage: stage.crashes > 0)  # type: ignore[misc]
            stage.wire.at = stage.wire.count + later
            stage.settle()
            assert check_one_end(f"crashes at {first} and {later} later", stage) == "done"


def test_a_stop_at_every_call() -> None:
    """Refused when it was there first, interrupted while it runs, done when it came too late."""
    seen = set()
    for where, stage in at_every_point(
        lambda stage: stage.tell(StopControl(identity=identity(), reason="enough"))
    ):
        stage.settle()
        seen.add(end := check_one_end(where, stage))
        if end == "interrupted":
            assert stage.claims[NAME].failure is FailureKind.STOPPED, where
            assert any(isinstance(body, Interrupting) for body in stage.bodies()), where
    assert seen == {"refused", "interrupted", "done"}


def test_a_stop_and_a_crash_at_every_call() -> None:
    def stop_and_die(stage: Stage) -> None:
        stage.tell(StopControl(identity=identity(), reason="enough"))
        raise Crash

    seen = set()
    for where, stage in at_every_point(stop_and_die):
        stage.settle()
        seen.add(check_one_end(where, stage))
    assert seen == {"refused", "revoked", "interrupted", "done"}  # revoked: accepted, and not started yet


def test_a_stop_while_it_cannot_be_prepared() -> None:
    stage = Stage()
    stage.depot.down = True
    stage.push(gated())
    stage.go(5_000)
    stage.tell(StopControl(identity=identity(), reason="enough"))
    stage.settle()
    assert check_one_end("stop", stage) == "revoked"
    assert [body.reason for body in stage.bodies() if isinstance(body, Revoked)] == ["enough"]


def test_a_cut_link_at_every_call() -> None:
    """For longer than every back-off: the run continues and everything is delivered, once."""

    def cut(stage: Stage) -> None:
        stage.uplink.down = stage.depot.down = True

    for where, stage in at_every_point(cut):
        stage.go(30_000)
        stage.uplink.down = stage.depot.down = False
        stage.settle()
        assert check_one_end(where, stage) == "done", where
        marks = [body.mark for body in stage.bodies() if isinstance(body, Marked)]
        assert len(marks) == 7, where


def test_a_link_that_stays_down_past_start_by() -> None:
    """What could not be prepared in time is given back, with a word."""
    stage = Stage()
    stage.depot.down = True
    stage.push(gated())
    stage.go(50_000)
    assert stage.agent.free_slots() == 1
    stage.settle()
    refused = [body for body in stage.bodies() if isinstance(body, Refused)]
    assert [body.why for body in refused] == [JobRefusal.TOO_LATE]
    assert stage.agent.free_slots() == 2 and stage.host.spawns == []


def test_a_reboot_at_every_call() -> None:
    """Every process is gone and the boot id is another. What ran ends as ours; nothing starts again."""

    def power_cut(stage: Stage) -> None:
        stage.host.power_cut()
        stage.shelf.power_cut()
        raise Crash

    seen = set()
    for where, stage in at_every_point(power_cut):
        stage.settle()
        seen.add(end := check_one_end(where, stage))
        assert end in ("done", "infra"), where
        claims = stage.claims[NAME]
        assert EMPTIED not in claims.files_changed, where  # a tree that lost its files is no result
        whole = claims.files_changed == ("a.txt",) and any(blob.name == "out" for blob in claims.blobs)
        if end == "infra":
            assert claims.failure is FailureKind.NODE_REBOOTED, where
        else:
            assert claims.answer == "did it" and (whole or MAYBE_SHORT in claims.findings), where
    assert seen == {"done", "infra"}


def test_dead_shims_at_every_call() -> None:
    seen = set()
    for where, stage in at_every_point(lambda stage: stage.host.kill_shims()):
        stage.settle()
        seen.add(end := check_one_end(where, stage))
        if end == "infra":
            assert stage.claims[NAME].failure is FailureKind.PROCESS_VANISHED, where
    assert seen == {"done", "infra"}


@pytest.mark.slow
def test_a_full_disk_at_every_call() -> None:
    """The end comes out whatever the disk does: done, ours, or refused before anything began."""

    def fill(stage: Stage) -> None:
        stage.shelf.full = stage.host.full = True

    seen = set()
    for where, stage in at_every_point(fill):
        stage.go(20_000)
        entry = stage.journal.get(identity())
        assert entry is None or entry.mark not in (Mark.EXITED, Mark.COMMITTED, Mark.GATED), where
        stage.shelf.full = stage.host.full = False
        stage.settle()
        if stage.journal.get(identity()) is None:  # not even the refusal fitted; it was said all the same
            assert any(isinstance(body, Refused) for body in stage.bodies()), where
            continue
        seen.add(end := check_one_end(where, stage))
        if end == "infra":
            assert stage.claims[NAME].failure is FailureKind.DISK_FULL, where
    assert {"done", "infra"} <= seen


@pytest.mark.parametrize(
    ("script", "changes", "outcome", "failure"),
    [
        (Script(exit_code=2), {}, Outcome.ERROR, FailureKind.AGENT_FAILED),
        (Script(output=b""), {}, Outcome.ERROR, FailureKind.NO_ANSWER),
        (Script(setup_code=1), {"setup": (("make",),)}, Outcome.INFRA, FailureKind.SETUP_FAILED),
        (Script(gate_codes=(3,)), {"gates": gates("t")}, Outcome.VERIFY_FAILED, FailureKind.GATE_FAILED),
        (Script(gate_codes=(127,)), {"gates": gates("t")}, Outcome.INFRA, FailureKind.GATE_NOT_RUNNABLE),
        (Script(), {"read_only": True}, Outcome.POLICY_VIOLATION, FailureKind.READ_ONLY_BROKEN),
        (Script(), {"safety": Safety.SUGGEST}, Outcome.POLICY_VIOLATION, FailureKind.READ_ONLY_BROKEN),
        (Script(kind="empty"), {"read_only": True}, Outcome.DONE, None),
        (Script(start_fails=True), {}, Outcome.INFRA, FailureKind.NODE_INTERNAL),
        (Script(commit_fails=True), {}, Outcome.INFRA, FailureKind.WORKSPACE),
        (Script(), {"workspace": Workspace(kind="none")}, Outcome.DONE, None),
    ],
)
def test_ends(
    script: Script, changes: dict[str, object], outcome: Outcome, failure: FailureKind | None
) -> None:
    claims = run(script, **changes).claims[NAME]
    assert (claims.outcome, claims.failure) == (outcome, failure), claims.reason


BESIDE = (
    "it passes only with ignored files that the agent made: node_modules, ~/.local; "
    "add to pancode.yaml: setup: [npm ci]"
)


@pytest.mark.parametrize(("code", "again", "words"), [(1, 0, BESIDE), (127, 0, BESIDE), (1, 1, "")])
def test_a_gate_that_passes_only_among_the_agents_files_says_so(code: int, again: int, words: str) -> None:
    script = Script(gate_codes=(0, code), again_code=again, beside=("node_modules", "~/.local"))
    stage = run(script, gates=gates("lint", "test"))
    claims = stage.claims[NAME]
    assert stage.host.spawns == [WORK, GATES, AGAIN] and claims.failure is FailureKind.GATE_FAILED
    assert claims.reason == "; ".join(filter(None, (f"gate test: exit {code}", words)))
    assert [gate.passed for gate in claims.gates] == [True, False] and claims.gates_on == "result"
    assert [step.name for step in stage.host.phases[AGAIN].plan.steps] == ["gate 2"]
    both = run(replace(script, gate_codes=(1, 127), again_code=1), gates=gates("lint", "test"))
    assert both.claims[NAME].failure is FailureKind.GATE_NOT_RUNNABLE, "the second one, which is the reason"
    assert [step.name for step in both.host.phases[AGAIN].plan.steps] == ["gate 2"]
    none = run(replace(script, beside=()), gates=gates("lint", "test"))
    assert none.host.spawns == [WORK, GATES]


def test_gates_that_an_older_node_agent_began_are_not_said_to_be_on_the_result() -> None:
    stage = Stage(script=lambda _: Script())
    stage.push(job_of(gates=gates("test")))
    assert stage.go(20_000, lambda: stage.host.spawns == [WORK, GATES])
    del stage.host.logs[f"{WORK}/baseline"]
    stage.agent = stage.start()
    stage.settle()
    assert (stage.claims[NAME].outcome, stage.claims[NAME].gates_on) == (Outcome.DONE, None)


def test_a_crash_while_a_gate_is_repeated() -> None:
    def stage_at(at: int) -> Stage:
        stage = Stage(script=lambda _: Script(gate_codes=(1,), beside=("out",)), wire=Tripwire(at or None))
        stage.push(job_of(gates=gates("test")))
        stage.settle()
        return stage

    clean = stage_at(0)
    first = next(n for n, one in enumerate(clean.wire.passed) if "beside" in one)
    for at in range(first, clean.wire.count, 5):
        stage = stage_at(at)
        claims = stage.claims[NAME]
        assert stage.host.spawns == [WORK, GATES, AGAIN] and stage.crashes == 1, at
        assert claims.reason == clean.claims[NAME].reason and claims.gates_on == "result"
        assert stage.host.aside == set()


def test_gates_do_not_run_after_a_failure() -> None:
    stage = run(Script(exit_code=2), gates=gates("test"))
    assert stage.host.spawns == [WORK] and stage.claims[NAME].gates == ()
    assert stage.claims[NAME].commit is not None  # what it left is kept all the same


def test_nothing_changed_is_said() -> None:
    claims = run(Script(kind="empty")).claims[NAME]
    assert (claims.change, claims.commit, claims.reason) == ("empty", None, "done, nothing changed")


def test_set_up_that_fails_costs_nothing() -> None:
    """The agent never ran, so its cost is known; what was lost in the middle of its work is not."""
    failed = run(Script(setup_code=1), setup=(("make",),)).claims[NAME]
    assert (str(failed.usage.cost_usd), failed.usage.cost_source) == ("0", "local")
    stage = Stage(script=lambda _: Script(output=b"", duration_ms=60_000))
    stage.push(gated())
    stage.go(5_000)
    stage.host.kill_shims()
    stage.settle()
    assert stage.claims[NAME].usage.cost_source == "unknown"
