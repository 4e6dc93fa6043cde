"""A drill over a fleet in memory: what it does, measures and reports, and what a faulty fleet shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from node_agent.wire.signing import SigningKey, WireRefusal, open_as, parse_envelope
from pancode.drills.drill import RECOVER_S, Drill, must_be_idle
from pancode.drills.model import MARK, DrillReport, DrillRow, Fault, RunSeen, Seen
from pancode.kernel.errors import PancodeError, RefusedError, UnavailableError

NODES = ("one", "two")


@dataclass
class Fake:
    """A fleet in which time passes by `pause` only. `heals_ms`: how long a fault lasts; None: for ever."""

    heals_ms: int | None = 1_000
    times: int = 1
    """How often each run has its effect."""
    outcome: str = "done"
    skipped: dict[Fault, str] = field(default_factory=dict)
    left_out: int = 0
    """Runs that the copy does not have."""
    now: int = 1_000
    work: dict[str, str] = field(default_factory=dict)
    is_deaf: bool = False
    """Whether no heartbeat arrives."""
    brought_up: list[Sequence[str]] = field(default_factory=list)
    injected: list[tuple[Fault, str]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    tasks: dict[str, str] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)
    ill: tuple[Fault, str, int] = (Fault.RESTORE, "", 0)

    # -- the clock

    def wall_ms(self) -> int:
        return self.now

    mono_ms = boot_ms = wall_ms

    def pause(self, seconds: float) -> None:
        self.now += round(seconds * 1_000)

    # -- the fleet

    def list_work(self) -> Mapping[str, str]:
        return self.work

    def begin_run(self, node: str, task: str) -> str:
        assert task.startswith(MARK)
        run = f"r-{len(self.tasks)}"
        self.tasks[run], self.begun[run] = task, self.now
        return run

    def stop_run(self, run: str) -> None:
        self.stopped.append(run)

    def look_at_run(self, run: str) -> RunSeen:
        is_over = self.now - self.begun[run] > 6_000
        return RunSeen(not is_over, self.outcome if is_over else None, 0)

    def count_effects(self, run: str, drill: str) -> int:
        assert self.tasks[run] == f"{MARK}{drill}\nsleep 6\necho {drill}\n"
        return self.times

    def bring_up(self, nodes: Sequence[str]) -> None:
        self.brought_up.append(nodes)

    def look(self, nodes: Sequence[str], run: str) -> Seen:
        fault, _, since = self.ill
        is_healed = self.heals_ms is not None and self.now - since >= self.heals_ms
        if fault is Fault.COORDINATOR and not is_healed:
            raise UnavailableError("no coordinator")
        kinds = [kind for kind, _ in self.injected]
        agents, coordinators, servers = map(kinds.count, (Fault.AGENT, Fault.COORDINATOR, Fault.REDIS))
        is_up = is_healed or fault not in (Fault.LINK, Fault.AGENT)
        session = f"s-{agents if is_healed or fault is not Fault.AGENT else agents - 1}"
        redis = servers if is_healed or fault is not Fault.REDIS else None
        is_well = is_up and (is_healed or fault is not Fault.REDIS)
        beats = (0 if self.is_deaf else self.now // 100,) * len(nodes)
        return Seen(coordinators, redis, (session,) * len(nodes), beats, is_well, self.look_at_run(run))

    def why_not(self, fault: Fault) -> str:
        return self.skipped.get(fault, "")

    def inject(self, fault: Fault, node: str, run: str) -> int | None:
        self.injected.append((fault, node))
        self.ill = (fault, node, self.now)
        return None

    def restore(self) -> int:
        self.now += 400
        return self.left_out


BEGUN = DrillReport(drill="d-1", fleet="f-1", by="ada", pancode="0.1.0", begun_ms=1_000)


def run(fake: Fake, reports: list[DrillReport] | None = None) -> DrillReport:
    return Drill(fake, fake, NODES, (reports if reports is not None else []).append).run(BEGUN)


def rows_of(report: DrillReport, fault: Fault) -> list[DrillRow]:
    return [row for row in report.rows if row.fault is fault]


def test_each_fault_is_injected_once_on_each_node_and_all_is_well() -> None:
    fake, reports = Fake(), list[DrillReport]()
    done = run(fake, reports)
    of_nodes = [(fault, node) for node in NODES for fault in (Fault.LINK, Fault.AGENT, Fault.SHIM)]
    assert fake.injected == [*of_nodes, (Fault.COORDINATOR, ""), (Fault.REDIS, "")]
    assert done.is_good and len(done.rows) == 9, done
    assert [len(one.rows) for one in reports] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    for fault in (Fault.LINK, Fault.AGENT, Fault.COORDINATOR, Fault.REDIS):
        assert all(row.noticed_ms == 0 and row.recovered_ms == 1_000 for row in rows_of(done, fault)), done
    assert [len(row.runs) for row in done.rows] == [*[2] * 6, 3, 3, 0]
    assert all(row.injected_ms > 0 for row in done.rows)
    (restored,) = rows_of(done, Fault.RESTORE)
    assert (restored.recovered_ms, restored.runs) == (400, ())


def test_a_run_whose_effect_is_seen_twice_is_doubled() -> None:
    done = run(Fake(times=2))
    assert not done.is_good
    assert {row.doubled for row in done.rows if row.runs} == {2, 3}, "each of its runs once too often"


def test_a_run_without_its_effect_or_with_another_end_is_lost() -> None:
    done = run(Fake(times=0))
    assert {row.lost for row in done.rows if row.runs} == {2, 3} and not done.is_good
    done = run(Fake(outcome="lost"))
    assert all(row.lost == len(row.runs) and "ended as lost" in row.problem for row in done.rows if row.runs)


def test_what_does_not_recover_is_told_after_the_limit_and_ends_the_drill() -> None:
    fake = Fake(heals_ms=None)
    done = run(fake)
    assert done.rows[0].noticed_ms == 0 and done.rows[0].recovered_ms is None
    told = f"not recovered within {RECOVER_S} s; `pancode fleet up one` repaired it"
    assert done.rows[0].problem == told and done.verdict == "FAILED"
    assert fake.brought_up == [["one"]]
    assert fake.injected == [(Fault.LINK, "one")]
    assert {row.problem for row in done.rows[1:]} == {"not injected after the failure above"}


def test_a_fault_that_cannot_be_injected_here_is_skipped_and_is_no_failure() -> None:
    fake = Fake(skipped={Fault.REDIS: "not started by PanCode", Fault.RESTORE: "no copy"})
    done = run(fake)
    assert done.is_good and (Fault.REDIS, "") not in fake.injected
    assert [row.skipped for row in done.rows[-2:]] == ["not started by PanCode", "no copy"]


def test_a_restore_that_lacks_runs_is_not_good() -> None:
    assert not run(Fake(left_out=2)).is_good


def test_other_work_refuses_a_drill_and_later_stops_its_faults() -> None:
    fake = Fake(work={"r-other": "pancode logs -f r-other"})
    with pytest.raises(RefusedError, match="idle fleet") as refused:
        must_be_idle(fake)
    assert "r-other" in refused.value.why and "pancode logs -f r-other" in refused.value.fix
    done = run(fake)
    assert fake.injected == [] and not fake.tasks
    assert not done.is_good and "r-other" in done.rows[0].problem


def test_a_run_that_does_not_start_is_stopped_and_its_fault_is_not_injected() -> None:
    class Waiting(Fake):
        def look_at_run(self, run: str) -> RunSeen:
            waits = run not in self.stopped
            return (
                RunSeen(False, None, 0, "the node is draining") if waits else RunSeen(False, "interrupted", 0)
            )

    fake = Waiting()
    done = run(fake)
    assert fake.injected == [] and not done.is_good
    assert "the node is draining" in done.rows[0].problem
    assert fake.stopped == ["r-0", "r-1"]
    assert (done.rows[0].runs, done.rows[0].lost) == ((), 0), "what the drill stopped is not lost"


def test_a_refused_injection_is_a_row_with_its_reason() -> None:
    class Refusing(Fake):
        def inject(self, fault: Fault, node: str, run: str) -> int | None:
            raise PancodeError("it is not linked", why="down")

    done = run(Refusing())
    assert "it is not linked; down" in done.rows[0].problem and not done.is_good
    assert [row.injected_ms for row in done.rows] == [0] * len(done.rows), "none was injected"


def test_work_that_begins_before_the_injection_is_not_disturbed() -> None:
    class Busy(Fake):
        def look(self, nodes: Sequence[str], run: str) -> Seen:
            self.work = {"the landing of r-9": "pancode runs show r-9"}
            return super().look(nodes, run)

    fake = Busy()
    done = run(fake)
    assert fake.injected == [] and fake.stopped == ["r-0", "r-1"]
    assert "the landing of r-9" in done.rows[0].problem


def test_redis_has_recovered_only_after_new_heartbeats() -> None:
    done = run(Fake(is_deaf=True))
    (row,) = rows_of(done, Fault.REDIS)
    assert row.recovered_ms is None and row.noticed_ms == 0
    assert all(one.is_good for one in done.rows if one.fault not in (Fault.REDIS, Fault.RESTORE))


@pytest.mark.parametrize("broken", [KeyboardInterrupt(), PermissionError("no")])
def test_an_interrupted_drill_stops_its_runs_and_judges_what_was_measured(broken: BaseException) -> None:
    class Broken(Fake):
        def inject(self, fault: Fault, node: str, run: str) -> int | None:
            if fault is Fault.AGENT:
                raise broken
            return super().inject(fault, node, run)

    fake, reports = Broken(times=2), list[DrillReport]()
    with pytest.raises(type(broken)):
        run(fake, reports)
    assert fake.stopped == ["r-2", "r-3"]
    link, agent = reports[-1].rows
    assert (link.doubled, link.recovered_ms, agent.runs) == (2, 1_000, ())
    assert (agent.problem, reports[-1].verdict) == ("the drill was interrupted", "INTERRUPTED")


def test_a_drill_that_is_interrupted_between_two_good_rows_is_no_pass() -> None:
    reports = list[DrillReport]()

    def report(now: DrillReport) -> None:
        reports.append(now)
        if len(reports) == 1:
            raise KeyboardInterrupt

    fake = Fake()
    with pytest.raises(KeyboardInterrupt):
        Drill(fake, fake, NODES, report).run(BEGUN)
    assert all(row.is_good for row in reports[-1].rows)
    assert (reports[-1].verdict, reports[-1].is_good) == ("INTERRUPTED", False)


def test_output_that_cannot_be_read_is_neither_lost_nor_good() -> None:
    class Silent(Fake):
        def count_effects(self, run: str, drill: str) -> int:
            raise UnavailableError("no coordinator")

    done = run(Silent())
    assert "the output of r-0 cannot be read" in done.rows[0].problem
    assert (done.rows[0].lost, done.is_good) == (0, False)


def test_runs_that_do_not_end_are_waited_for_together_and_then_stopped() -> None:
    class Endless(Fake):
        def look_at_run(self, run: str) -> RunSeen:
            return RunSeen(True, None, 0)

    endless = Endless()
    done = run(endless)
    assert endless.stopped == ["r-0", "r-1"] and done.rows[0].lost == 2
    assert endless.now < 2 * RECOVER_S * 1_000


def test_a_signed_report_is_read_again_and_a_changed_one_is_not() -> None:
    key = SigningKey(b"k" * 32)
    report = run(Fake())
    text = report.signed(key).model_dump_json()
    keys = {key.public.keyid: key.public}
    assert open_as(DrillReport, parse_envelope(text), keys) == report
    changed = report.model_copy(update={"by": "eve"}).signed(SigningKey(b"e" * 32))
    forged = changed.model_copy(update={"signatures": report.signed(key).signatures}).model_dump_json()
    with pytest.raises(WireRefusal, match="does not match"):
        open_as(DrillReport, parse_envelope(forged), keys)
