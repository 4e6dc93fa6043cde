"""What happens by itself: crashes, cuts, silence, power, disks, clocks, Redis, sleep; and repairing."""

from __future__ import annotations

from node_agent.wire.signing import SigningKey
from pancode.kernel.records import Lease, Run, RunState
from pancode.runs.restored.hold import list_held
from tests.simulation.world import SimWorld


def nothing(w: SimWorld) -> None:
    """A moment in which all goes well."""


def crash_node(w: SimWorld) -> None:
    machine, calls = w.machine(), w.random.randint(1, 40)
    w.say(f"{machine.name} will crash in {calls} calls")
    machine.crash_in(calls)


def restart_node(w: SimWorld) -> None:
    machine = w.machine()
    w.say(f"{machine.name}'s node agent is killed")
    machine.agent = None


def crash_coordinator(w: SimWorld) -> None:
    calls = w.random.randint(1, 30)
    w.say(f"coordinator will crash in {calls} calls")
    w.coordinator.crash_in(calls)


def cut(w: SimWorld) -> None:
    machine = w.machine()
    w.say(f"{machine.name} link cut")
    machine.cut(True)


def repair(w: SimWorld) -> None:
    w.say("links, disks and Redis repaired")
    for machine in w.machines:
        machine.cut(False)
        machine.frozen = False
        machine.host.full = machine.shelf.full = False
    w.redis.down = False
    w.coordinator.frozen = False


def silence(w: SimWorld) -> None:
    """A node (rather a busy one) is cut off for about the last deadline, while the rest continues."""
    busy = [machine for machine in w.machines if machine.alive()]
    machine = w.random.choice(busy) if busy else w.machine()
    ms = w.random.choice((50_000, 100_000, 140_000, 140_000, 200_000))
    w.say(f"{machine.name} is silent for {ms} ms")
    machine.cut(True)
    for _ in range(ms // 5_000):
        w.step(5_000)
    machine.cut(False)


def power(w: SimWorld) -> None:
    machine = w.machine()
    w.say(f"{machine.name} power cut")
    machine.power_cut()


def power_fails(w: SimWorld) -> None:
    machine, calls = w.machine(), w.random.randint(1, 60)
    w.say(f"{machine.name} loses its power in {calls} calls")
    machine.power_fails_in(calls)


def freeze_node(w: SimWorld) -> None:
    machine = w.machine()
    w.say(f"{machine.name} frozen")
    machine.frozen = True


def sleep_coordinator(w: SimWorld) -> None:
    ms = w.random.choice((20_000, 60_000, 400_000))
    w.say(f"coordinator sleeps {ms} ms")
    w.coordinator.frozen = True
    for _ in range(4):
        w.step(ms // 4)
    w.coordinator.frozen = False


def redis_away(w: SimWorld) -> None:
    w.redis.down = not w.redis.down
    w.say(f"redis {'down' if w.redis.down else 'up'}")


def wipe(w: SimWorld) -> None:
    w.say("redis wiped")
    w.redis.wipe()
    w.truth.contact_ms.clear()  # what was on its way is gone


def noise(w: SimWorld) -> None:
    w.channel.chaos = w.random.choice((0.0, 0.2, 0.5))
    w.say(f"messages are lost, doubled and late: {w.channel.chaos}")


def disk_full(w: SimWorld) -> None:
    machine = w.machine()
    w.say(f"{machine.name} disk full")
    machine.host.full = machine.shelf.full = True


def kill_programs(w: SimWorld) -> None:
    machine = w.machine()
    w.say(f"{machine.name} programs of interactive runs killed")
    machine.programs.kill()


def kill_shims(w: SimWorld) -> None:
    machine = w.machine()
    w.say(f"{machine.name} shims killed")
    machine.host.kill_shims()


def lose_disk(w: SimWorld) -> None:
    """The machine comes back with an empty disk; its key was kept, or a user has it enrolled anew."""
    machine, new_key = w.machine(), w.random.random() < 0.5
    w.say(f"{machine.name} comes back with an empty disk, new key: {new_key}")
    machine.cut(False)
    key = machine.key
    if new_key:
        seed = f"{machine.name}-{machine.disks}".encode()
        key = SigningKey(seed.ljust(32, b"."))
    machine.power_cut()
    machine.new_disk(key)
    if new_key:
        w.truth.trusted.add(machine.name)
        w.enrol(machine)


def lose_bytes(w: SimWorld) -> None:
    """The depot loses what it had of attempts that are not settled yet."""
    with w.coordinator.seen() as tx:
        unsettled = {f"{f.run}.{f.attempt}.{f.lease}" for f in tx.find(Lease) if f.receipt is None}
    some = [name for name in sorted(unsettled) if w.random.random() < 0.7]
    w.say(f"the depot loses {some}")
    for name in some:
        w.lose(name)


def swallow(w: SimWorld) -> None:
    """The depot never keeps anything of one attempt."""
    if w.runs:
        identity = f"{w.random.choice(w.runs)}.1.1"
        w.say(f"the depot keeps nothing of {identity}")
        w.swallowed.add(identity)


# -- the coordinator's machine -------------------------------------------------------------------


def reboot_coordinator(w: SimWorld) -> None:
    w.say("the coordinator's machine reboots")
    w.coordinator.reboot()


def wall(w: SimWorld) -> None:
    """A wall clock is set: by seconds, by hours, by more than a day."""
    clock = w.random.choice((w.clock, w.machine().clock))
    jump = w.random.choice((-86_400_000, -3_600_000, -5_000, 40_000, 90_000_000))
    w.say(f"a wall clock jumps by {jump} ms")
    clock.wall += jump


def backup(w: SimWorld) -> None:
    w.say(f"backup {len(w.backups)} of the ledger")
    w.backups.append(w.coordinator.backup())


def restore(w: SimWorld) -> None:
    """The coordinator's ledger or whole disk dies; a backup is put back. Depot and archive are whole."""
    if not w.backups:
        return
    number = w.random.randrange(len(w.backups))
    w.say(f"backup {number} of the ledger is put back")
    with w.coordinator.seen() as tx:
        under_way = {r.id for r in tx.find(Run)}
    w.coordinator.kill()
    w.pass_time(w.random.choice((137, 5_311, 33_000)))
    w.coordinator.restore(w.backups[number])
    if w.random.random() < 0.4:
        w.say("what was kept beside the ledger is lost as well")
        w.coordinator.epochs.lose()
    w.truth.backup_put_back(under_way)
    w.ledger_is_another()
    with w.coordinator.seen() as tx:
        w.runs = [r.id for r in tx.find(Run) if r.state in RunState]
    w.coordinator.start()
    with w.coordinator.seen() as tx:
        w.truth.held_runs = set(list_held(tx))
