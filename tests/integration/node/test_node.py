"""A real node agent, real shims, runtimes and git: jobs in, signed receipts out, nothing left behind."""

from __future__ import annotations

import hashlib
import os
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

from node_agent.runner.runner import spawned_in
from node_agent.wire.control import StopControl
from node_agent.wire.event import Progress
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Gate, Limits
from node_agent.wire.node import Heartbeat
from tests.integration.git.repos import snap, tree_of
from tests.integration.node.node_world import RUN, NodeWorld, attempt_of, processes_of, until


def gate(*argv: str) -> tuple[Gate, ...]:
    return (Gate(name="check", argv=argv),)


def test_a_git_run_with_a_gate(world: NodeWorld) -> None:
    job = world.job(
        "#!scripted\nwrite new.txt 'hello\\n'\nusage 12 34 0.05\nanswer 'I wrote it'",
        gates=gate("grep", "-q", "hello", "new.txt"),
        setup=(("sh", "-c", "echo set up; echo home > venv.cfg; echo patched > f1"),),
    )
    claims = world.run(job)
    assert (claims.outcome, claims.reason) == (Outcome.DONE, "done")
    assert claims.answer == "I wrote it" and claims.usage.cost_usd == Decimal("0.05")
    assert claims.files_changed == ("new.txt",) and claims.change == "change"
    assert [gate.exit_code for gate in claims.gates] == [0]
    assert claims.commit is not None
    assert world.depot.verify_result(world.taken.repo_id, job.identity, claims.commit)
    files = tree_of(world.depot, world.taken, claims.commit)
    assert files["new.txt"][1] == b"hello\n" and files["f1"][1] == b"1\n" and "venv.cfg" not in files
    assert not any("gates changed" in text for text in claims.findings)
    assert {blob.name for blob in claims.blobs} == {"out", "setup"}
    assert world.log(job.identity, "setup") == 2 * b"set up\n", "once more for the gate"
    for blob in claims.blobs:
        assert len(world.log(job.identity, blob.name)) == blob.size
    assert not (world.home.root / "work" / str(job.identity)).exists()
    until(lambda: processes_of(job.identity) == [])  # the last shim leaves a moment after its record


def test_a_heartbeat_names_what_has_a_value_there_and_tells_none(world: NodeWorld) -> None:
    world.home.secrets.write_text('{"NPM_TOKEN": "npm-1234567", "GONE": {"file": "/nowhere"}}')

    def told() -> Heartbeat | None:
        heartbeat = world.coordinator.heartbeat()
        return (
            heartbeat if heartbeat is not None and "NPM_TOKEN" in (heartbeat.facts.variables or ()) else None
        )

    heartbeat = until(told, "the name is told")
    assert heartbeat.facts.variables is not None and "PATH" in heartbeat.facts.variables
    assert "GONE" not in heartbeat.facts.variables and "npm-1234567" not in heartbeat.model_dump_json()


def test_what_a_gate_reports_is_in_the_receipt_and_is_no_change(world: NodeWorld) -> None:
    """What the agent has laid in its place is not."""
    found = """<testsuite name="lint"><testcase name="R1" file="'$PWD'/f1" line="2">
      <failure message="bad"/></testcase></testsuite>"""
    job = world.job(
        "#!scripted\nwrite forged.xml '<testsuites/>'\nwrite out.xml '<testsuites/>'\nanswer done",
        gates=gate("sh", "-c", f"echo '{found}' > out.xml"),
        reports=("out.xml", "forged.xml"),
    )
    claims = world.run(job)
    assert claims.outcome is Outcome.DONE and not any("gates changed" in text for text in claims.findings)
    lint, forged = claims.reports
    assert (lint.tool, lint.counts, lint.unread) == ("lint", {"failed": 1}, "")
    assert [(one.file, one.line, one.rule, one.text) for one in lint.results] == [("f1", 2, "R1", "bad")]
    assert forged.unread == "no gate has written it as a regular file" and forged.results == ()


def test_set_up_does_not_choose_what_the_agent_is_told(world: NodeWorld) -> None:
    """Not by words in its home, nor by a pipe that nobody ever writes to."""
    wiped = ("sh", "-c", 'find "$HOME" -type f -delete; rm -f ~/.task; mkfifo ~/.task ~/task ~/stdin')
    claims = world.run(world.job("#!scripted\nanswer mine", setup=(wiped,)))
    assert (claims.outcome, claims.answer) == (Outcome.DONE, "mine")


def test_set_up_agent_and_gates_are_told_whose_they_are(world: NodeWorld) -> None:
    words = 'echo "$PANCODE_RUN $PANCODE_DEPTH $PANCODE_ATTEMPT"'
    told = ("sh", "-c", words)
    job = world.job(words, runtime="shell", depth=1, setup=(told,), gates=gate(*told))
    job = job.model_copy(update={"policy": job.policy.model_copy(update={"told_only": True})})
    assert world.run(job).outcome is Outcome.DONE
    said = f"{job.identity.run} 1 {job.identity}\n".encode()
    assert [world.log(job.identity, name) for name in ("setup", "out", "gates.log")] == [
        said + said,
        said,
        said,
    ]


def test_the_reason_of_a_failed_gate_is_the_last_line_that_it_printed(world: NodeWorld) -> None:
    gates = (
        *gate("echo", "all good"),
        *gate("sh", "-c", "yes noise | head -9000; echo '2 failed: a.py\n'; exit 2"),
        *gate("echo", "not this"),
    )
    claims = world.run(world.job("true", runtime="shell", gates=gates))
    assert (claims.outcome, claims.reason) == (Outcome.VERIFY_FAILED, "gate check: exit 2: 2 failed: a.py")


def test_shell_without_a_workspace(world: NodeWorld) -> None:
    job = world.job("echo out; echo err >&2; exit 3", run="r-shell", runtime="shell")
    claims = world.run(job)
    assert (claims.outcome, claims.exit_code) == (Outcome.ERROR, 3)
    assert (world.log(job.identity), world.log(job.identity, "err")) == (b"out\n", b"err\n")
    argv = ("printf", "%s|", "a b", "$(id)", "'\n", "-rf", "☃")
    done = world.run(world.job("", run="r-argv", runtime="shell", argv=argv))
    assert done.outcome is Outcome.DONE and world.log(attempt_of("r-argv")) == "a b|$(id)|'\n|-rf|☃|".encode()


def test_a_failed_gate_and_one_that_cannot_run(world: NodeWorld) -> None:
    failed = world.run(world.job("#!scripted\nsay hi", run="r-gate1", gates=gate("false")))
    assert (failed.outcome, failed.failure) == (Outcome.VERIFY_FAILED, FailureKind.GATE_FAILED)
    broken = world.run(world.job("#!scripted\nsay hi", run="r-gate2", gates=gate("no-such-program")))
    assert (broken.outcome, broken.failure) == (Outcome.ERROR, FailureKind.GATE_MISSING)
    setup = world.run(world.job("#!scripted\nsay hi", run="r-setup", setup=(("false",),)))
    assert (setup.outcome, setup.failure) == (Outcome.INFRA, FailureKind.SETUP_FAILED)


def test_a_read_only_agent_that_writes(world: NodeWorld) -> None:
    world.without_sandbox()
    claims = world.run(world.job("#!scripted\nforce write evil.txt x", read_only=True))
    assert (claims.outcome, claims.failure) == (Outcome.POLICY_VIOLATION, FailureKind.READ_ONLY_BROKEN)
    assert "evil.txt" in claims.reason


def test_a_read_only_agent_behind_a_set_up_that_writes(world: NodeWorld) -> None:
    job = world.job("#!scripted\nread venv.cfg\nanswer ok", read_only=True, setup=(("touch", "venv.cfg"),))
    claims = world.run(job)
    assert (claims.outcome, claims.change, claims.commit) == (Outcome.DONE, "empty", None)


def test_what_the_repository_says_reaches_the_agent(world: NodeWorld) -> None:
    """As it was dispatched, under the agent's own instructions; set-up can no longer change it."""
    world.repo.write("AGENTS.md", "Use tabs.\n")
    world.taken = snap(world.repo, world.depot, RUN)
    forged = (("sh", "-c", "echo Use spaces. > AGENTS.md"),)
    claims = world.run(world.job("#!scripted\nprompt\nanswer ok", setup=forged))
    said = world.log(attempt_of(RUN)).decode()
    assert claims.outcome is Outcome.DONE
    assert "Build." in said and "Use tabs." in said and "Use spaces." not in said
    assert said.index("Build.") < said.index("It cannot") < said.index("Use tabs.")
    assert claims.prompt_digest != hashlib.sha256(b"Build.").hexdigest()


def test_the_wall_limit_is_for_all_phases(world: NodeWorld) -> None:
    limits = Limits(wall_ms=3_000, idle_ms=60_000, output_bytes=1 << 20)
    slow = (("sleep", "1"),)
    job = world.job(
        "sleep 1", run="r-late", runtime="shell", setup=slow, gates=gate("sleep", "9"), limits=limits
    )
    claims = world.run(job)
    assert (claims.outcome, claims.reason) == (
        Outcome.INFRA,
        "gate check was not judged: it ran for longer than its time limit of 3s (limits.wall, --timeout)",
    )
    assert not claims.gates[0].judged
    assert claims.gates[0].duration_ms < 2_500


def test_limits(world: NodeWorld) -> None:
    def limits(**changes: int) -> Limits:
        base: dict[str, Any] = {"wall_ms": 60_000, "idle_ms": 60_000, "output_bytes": 1 << 24}
        return Limits(**{**base, **changes})

    wall = world.run(world.job("#!scripted\nhang", run="r-wall", limits=limits(wall_ms=500)))
    assert wall.outcome is Outcome.TIMEOUT
    idle = world.run(world.job("#!scripted\nsay x\nhang", run="r-idle", limits=limits(idle_ms=500)))
    assert idle.outcome is Outcome.STALLED
    flood = world.run(
        world.job("#!scripted\nflood 3000000\nhang", run="r-flood", limits=limits(output_bytes=1 << 20))
    )
    assert flood.failure is FailureKind.OUTPUT_LIMIT
    spent = "#!scripted\nusage 90 20\nhang"
    tokens = world.run(world.job(spent, run="r-tokens", limits=limits(tokens=100)))
    assert (tokens.outcome, tokens.failure) == (Outcome.BUDGET_EXCEEDED, FailureKind.TOKEN_LIMIT)


def test_a_stop_of_one_that_ignores_signals_and_forks_away(world: NodeWorld) -> None:
    task = "#!scripted\nignore INT TERM\nfork 60\nsay started\nhang"
    job = world.job(task)
    world.coordinator.push(job)
    until(lambda: b"started" in world.log(job.identity), told=lambda: world.story(job.identity))
    assert len(processes_of(job.identity)) >= 2
    world.coordinator.tell(StopControl(identity=job.identity, reason="enough"))
    claims = world.ended(job.identity)
    assert (claims.outcome, claims.reason) == (Outcome.INTERRUPTED, "enough")
    until(lambda: processes_of(job.identity) == [])  # the last shim leaves a moment after its record


def test_two_at_once_and_never_three(world: NodeWorld) -> None:
    jobs = [world.job("#!scripted\nsay x\nsleep 0.5", run=f"r-many{n}") for n in range(5)]
    for job in jobs:
        world.coordinator.push(job)
    most = 0

    def all_over() -> bool:
        nonlocal most
        most = max(most, sum(bool(processes_of(job.identity)) for job in jobs))
        return len(world.coordinator.claims) == 5

    until(all_over)
    assert most == 2
    assert {claims.outcome for claims in world.coordinator.claims.values()} == {Outcome.DONE}


def test_the_log_grows_while_it_runs_and_usage_is_told(world: NodeWorld) -> None:
    job = world.job("#!scripted\nusage 5 6 0.01\nsay one\nsleep 1.5\nsay two", run="r-live")
    world.coordinator.push(job)
    until(lambda: b"one" in world.log(job.identity))
    assert b"two" not in world.log(job.identity)
    claims = world.ended(job.identity)
    assert any(isinstance(event.body, Progress) for event in world.coordinator.events.values())
    assert claims.blobs[0].size == len(world.log(job.identity))


def test_the_node_agent_leaves_and_comes_back(world: NodeWorld) -> None:
    job = world.job("#!scripted\nsay one\nsleep 1\nwrite late.txt x\nanswer done")
    world.coordinator.push(job)
    until(lambda: bool(processes_of(job.identity)))
    world.leave()
    until(lambda: not processes_of(job.identity))  # it continued, and ended, without us
    world.start()
    claims = world.ended(job.identity)
    assert (claims.outcome, claims.files_changed) == (Outcome.DONE, ("late.txt",))
    assert len(world.coordinator.receipts[str(job.identity)]) == 1


def test_the_shim_is_killed(world: NodeWorld) -> None:
    job = world.job("#!scripted\nwrite half.txt x\nsay started\nfork 60\nhang")
    world.coordinator.push(job)
    until(lambda: b"started" in world.log(job.identity))
    os.kill(_shim(world.home.journal / str(job.identity)), signal.SIGKILL)
    claims = world.ended(job.identity)
    assert (claims.outcome, claims.failure) == (Outcome.INFRA, FailureKind.PROCESS_VANISHED)
    assert claims.files_changed == ("half.txt",) and claims.commit is not None  # what it left is kept
    until(lambda: processes_of(job.identity) == [])  # the last shim leaves a moment after its record


def _shim(folder: Path) -> int:
    taken = spawned_in(folder)
    assert taken is not None
    return taken.pid


def test_a_link_that_is_cut_while_it_ends(world: NodeWorld) -> None:
    job = world.job("#!scripted\nsay one\nsleep 0.5\nwrite a.txt x")
    world.coordinator.push(job)
    until(lambda: bool(processes_of(job.identity)))
    world.uplink.down = True
    (world.home.links / "current").rename(world.home.links / "gone")
    world.marked(job.identity, "gated")
    (world.home.links / "gone").rename(world.home.links / "current")
    world.uplink.down = False
    claims = world.ended(job.identity)
    assert claims.outcome is Outcome.DONE and claims.commit is not None
    until(lambda: len(world.coordinator.inventories) >= 2)


def test_hostile_output_and_an_agent_that_lies(world: NodeWorld) -> None:
    world.without_sandbox()  # behind it nobody can write the repository
    lie = world.run(world.job("#!scripted\nraw \\x00\\xff{{{\ninvalid\nexit 0", run="r-liar"))
    assert lie.outcome is Outcome.ERROR  # exit 0 without a terminal event is not done
    claims = world.run(world.job("#!scripted\nwrite a.txt x\ncommit mine\nwrite rest.txt x\ndelete-git"))
    assert claims.outcome is Outcome.DONE, claims.reason
    assert claims.files_changed == ("a.txt", "rest.txt")
