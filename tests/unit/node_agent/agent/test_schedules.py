"""Any order of pushes, crashes, cuts, stops, reboots, wipes, full disks: each run has one start, one end."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node_agent.wire.control import StopControl, Tombstone
from node_agent.wire.event import Refused, Revoked
from node_agent.wire.identity import AttemptId
from node_agent.wire.model import FleetTime
from tests.fakes.node import Script, Tripwire, die
from tests.unit.node_agent.stage import Stage, gates, identity, job_of

RUNS = [f"r-run{number}" for number in range(4)]
SCRIPTS = {
    RUNS[0]: Script(duration_ms=3_000),
    RUNS[1]: Script(duration_ms=20_000, stop_ms=5_000, gate_ms=3_000),
    RUNS[2]: Script(exit_code=1),
    RUNS[3]: Script(duration_ms=500, kind="empty"),
}
Act = tuple[str, int]
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("go"), st.integers(100, 15_000)),
        st.tuples(st.sampled_from(["push", "stop", "bury"]), st.integers(0, 3)),
        st.tuples(st.just("crash"), st.integers(1, 60)),
        st.tuples(st.sampled_from(["link", "depot", "full"]), st.integers(0, 1)),
        st.tuples(st.sampled_from(["reboot", "kill", "epoch", "wipe", "restart"]), st.just(0)),
    ),
    min_size=3,
    max_size=25,
)


class Play:
    """A stage on which a list of acts is played, with what must hold after each turn."""

    def __init__(self) -> None:
        self.stage = Stage(script=lambda one: SCRIPTS[one.run], wire=Tripwire(None, die))
        self.pushed: list[AttemptId] = []

    def act(self, what: str, value: int) -> None:
        stage = self.stage
        match what:
            case "go":
                stage.go(value, self.check)
            case "push":
                self.push(identity(run=RUNS[value]))
            case "stop":
                stage.tell(StopControl(identity=identity(run=RUNS[value]), reason="enough"))
            case "bury":
                stage.tell(Tombstone(run=RUNS[value], up_to_lease=1, reason="given up"))
            case "crash":
                stage.wire.at = stage.wire.count + value
            case _:
                self.fault(what, bool(value))
                self.disaster(what)

    def fault(self, what: str, on: bool) -> None:
        stage = self.stage
        match what:
            case "link":
                stage.uplink.down = on
            case "depot":
                stage.depot.down = on
            case "full":
                stage.shelf.full = stage.host.full = on

    def disaster(self, what: str) -> None:
        stage = self.stage
        match what:
            case "reboot":
                stage.host.power_cut()
                stage.shelf.power_cut()
                stage.agent = stage.start()
            case "kill":
                stage.host.kill_shims()
            case "epoch":
                stage.epoch += 1
            case "restart":
                stage.agent = stage.start()
            case "wipe":  # Redis forgets: what was on its way is lost, in both directions
                stage.uplink.queue.clear()
                stage.uplink.told.clear()
                stage.uplink.heartbeat = stage.uplink.pulse = None
                stage.read = len(stage.uplink.sent)

    def push(self, one: AttemptId) -> None:
        if one in self.pushed:
            return
        self.pushed.append(one)
        late = FleetTime(epoch=self.stage.epoch, ms=self.stage.now().ms + 40_000)
        self.stage.push(job_of(identity=one, epoch=self.stage.epoch, start_by=late, gates=gates("test")))

    def check(self) -> bool:
        """What holds at any moment. False, so that time continues."""
        stage = self.stage
        running = [
            phase
            for phase in stage.host.phases.values()
            if phase.boot == stage.host.boot and phase.ended is None and not phase.gone
        ]
        assert len(running) <= stage.slots
        assert len(stage.host.spawns) == len(set(stage.host.spawns)), "started twice"
        for entry in stage.journal.entries():
            if entry.mark in ("committed", "gated", "pushed", "receipted"):
                assert str(entry.identity) in stage.host.trees or not entry.marks & {"prepared"}, entry
        return False

    def heal(self) -> None:
        """The faults end; everybody has all the time there is."""
        stage = self.stage
        stage.uplink.down = stage.depot.down = False
        stage.shelf.full = stage.host.full = False
        stage.wire.at = None
        stage.settle()

    def verdicts(self) -> None:
        """One end for each run that was offered, and the same one for ever."""
        stage = self.stage
        for one in self.pushed:
            words = {body.kind for body in stage.bodies(one) if isinstance(body, Refused | Revoked)}
            receipts = stage.receipts.get(str(one), set())
            assert len(receipts) + len(words) == 1, (one, words, receipts, stage.journal.get(one))
            spawned = [folder for folder in stage.host.spawns if str(one) in folder]
            assert not (words and spawned), "refused, and yet it ran"
            entry = stage.journal.get(one)
            assert entry is None or entry.cleaned
        assert stage.agent.free_slots() == stage.slots
        chain = [claims.previous for claims in stage.order_of_receipts]
        assert len(chain) == len(set(chain)), "two receipts with one predecessor"


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 6_000), ACTS)
def test_any_schedule(head_start: int, acts: list[Act]) -> None:
    play = Play()
    for what, value in [("push", 1), ("push", 0), ("go", head_start), *acts]:
        play.act(what, value)
        play.check()
    play.heal()
    play.verdicts()
