"""The classes of schedules: which faults, how often, and at what pace. M3's scenarios are named in `doc`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

QUICK = (0, 100, 500, 1_000, 3_000)
SLOW = (2_000, 4_000, 5_000, 6_000)
WORK = {"dispatch": 10, "stop": 2, "nothing": 8}
ENDLESS = 36_000_000
"""Longer than any schedule: such a process ends only because somebody ends it."""


@dataclass(frozen=True)
class Kind:
    """`acts`: how often each act is chosen, besides WORK. `intervals`: settings of the node that differ."""

    name: str
    doc: str
    acts: Mapping[str, int]
    steps: int = 45
    paces: tuple[int, ...] = QUICK
    nodes: tuple[int, ...] = (1, 2, 2, 3)
    durations: tuple[int, ...] = (0, 500, 3_000, 20_000, 90_000)
    most_runs: int = 12
    intervals: Mapping[str, int] = field(default_factory=dict)
    careless: tuple[str, ...] = ("ask", "ask", "retry")
    ceiling_usd: Decimal | None = None


INTERACTIVE_RUNS, STRAINED = "interactive_runs", "strained"
RESTORED, RESTORED_FLOWS = "restored", "restored_flows"
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "calm",
            "happy path; pinned, pooled, labelled; never over the slots; stop while queued and running",
            {"stop": 2, "drain": 1, "pause": 1, "resize": 1},
            durations=(0, 500, 3_000, 20_000, ENDLESS),
        ),
        Kind(
            "quick",
            "a little of everything at the pace of seconds",
            {
                "stop": 1,
                "retry": 1,
                "crash_node": 4,
                "crash_coordinator": 3,
                "cut": 3,
                "repair": 4,
                "power": 2,
                "freeze_node": 1,
                "sleep_coordinator": 2,
                "redis_away": 2,
                "wipe": 1,
                "noise": 2,
                "drain": 1,
                "pause": 1,
                "disk_full": 1,
                "kill_shims": 1,
                "enemy": 3,
            },
        ),
        Kind(
            "slow",
            "host frozen, off, cut for longer than every deadline: suspect, unreachable, lost, heard again",
            {
                "cut": 4,
                "freeze_node": 2,
                "silence": 5,
                "repair": 3,
                "retry": 3,
                "stop": 2,
                "crash_coordinator": 1,
                "power": 1,
                "restart_node": 2,
                "wipe": 1,
            },
            steps=40,
            paces=SLOW,
            nodes=(2, 2, 3),
            durations=(3_000, 90_000, 200_000, ENDLESS),
            careless=("ask", "ask", "retry", "retry"),
        ),
        Kind(
            "cuts",
            "link cut during a run, for a moment and for long; messages lost, doubled, late",
            {"cut": 8, "repair": 8, "noise": 6, "redis_away": 2, "stop": 5, "drain": 4},
            durations=(500, 3_000, 20_000, 90_000, ENDLESS),
        ),
        Kind(
            "words",
            "stop while queued, running, ignoring SIGTERM; words of the coordinator lost, doubled, late",
            {"noise": 8, "stop": 10, "drain": 6, "wipe": 1},
            durations=(3_000, ENDLESS, ENDLESS),
        ),
        Kind(
            "crashes",
            "node agent -9 at each mark, shim -9, coordinator -9 around every write",
            {"crash_node": 12, "crash_coordinator": 12, "kill_shims": 2, "power": 2, "stop": 2},
        ),
        Kind(
            "enemy",
            "somebody who writes to Redis: altered, forged, replayed, foreign words of every kind",
            {"enemy": 14, "cut": 2, "repair": 2, "stop": 1, "restart_node": 1, "withhold": 2},
        ),
        Kind(
            "hostile",
            "a node that lies with its own key: impossible marks, epochs, numbers, receipts of others",
            {"hostile": 10, "cut": 1, "repair": 2, "stop": 1, "crash_coordinator": 1},
            nodes=(2, 3),
            paces=(1_000, 3_000, 5_000),
        ),
        Kind(
            "races",
            "two nodes, short work, an inventory every two seconds, old leases delivered late",
            {
                "noise": 5,
                "cut": 5,
                "repair": 5,
                "silence": 1,
                "restart_node": 2,
                "crash_coordinator": 2,
                "stop": 2,
            },
            nodes=(2,),
            intervals={"inventory_ms": 2_000},
            durations=(500, 3_000, 20_000, 90_000),
            careless=("ask", "retry", "retry"),
        ),
        Kind(
            RESTORED,
            "a backup of the ledger is put back: no epoch, lease or number twice; orphans are archived",
            {
                "backup": 5,
                "restore": 4,
                "release_early": 2,
                "cut": 2,
                "repair": 3,
                "stop": 2,
                "drain": 1,
                "crash_coordinator": 1,
                "wipe": 1,
            },
            steps=55,
            durations=(500, 3_000, 20_000, 90_000),
        ),
        Kind(
            RESTORED_FLOWS,
            "a backup of the ledger is put back while workflows are under way",
            {
                "flow": 4,
                "stop_flow": 1,
                "backup": 5,
                "restore": 4,
                "release_early": 2,
                "cut": 2,
                "repair": 3,
                "stop": 2,
                "drain": 1,
                "crash_coordinator": 1,
                "wipe": 1,
            },
            steps=55,
            durations=(500, 3_000, 20_000, 90_000),
            intervals={"profile_ms": 30_000},
        ),
        Kind(
            "disks",
            "a node's disk full, lost, replaced; its key replaced",
            {"disk_full": 5, "lose_disk": 3, "repair": 5, "crash_node": 2, "stop": 2, "cut": 1},
            durations=(500, 3_000, 20_000, 90_000, ENDLESS),
        ),
        Kind(
            "owners",
            "owners allow more and less; disks are full for a while: nobody's run ends by that",
            {"owner": 6, "disk_full": 4, "repair": 5, "cut": 1, "stop": 1, "crash_coordinator": 1},
            nodes=(2, 2, 3),
            paces=(1_000, 3_000, 5_000),
            steps=60,
        ),
        Kind(
            "depot",
            "delivered bytes are gone before settlement, for a while or for good",
            {"lose_bytes": 8, "swallow": 2, "cut": 2, "repair": 3, "crash_node": 2, "crash_coordinator": 2},
        ),
        Kind(
            "clocks",
            "machines reboot, wall clocks jump, midnight passes",
            {
                "power": 2,
                "power_fails": 4,
                "reboot_coordinator": 4,
                "wall": 4,
                "cut": 1,
                "repair": 2,
                "stop": 1,
                "kill_shims": 2,
            },
        ),
        Kind(
            "money",
            "ten dispatches racing for the last dollar; attempts that wait for the budget",
            {"dispatch": 12, "ceiling": 2, "crash_coordinator": 4, "kill_shims": 4, "stop": 3, "silence": 1},
            most_runs=20,
        ),
        Kind(
            "removal",
            "node rm with the node there and with the node away; runs that were on it",
            {"revoke": 2, "forget": 2, "vanish": 1, "cut": 3, "repair": 3, "stop": 1, "crash_coordinator": 1},
            nodes=(2, 3),
        ),
        Kind(
            "redis",
            "Valkey killed and back, wiped",
            {"redis_away": 6, "wipe": 6, "repair": 4, "restart_node": 3, "stop": 3, "noise": 2, "silence": 1},
            durations=(500, 3_000, 20_000, 90_000, ENDLESS),
        ),
        Kind(
            "sleeper",
            "the coordinator is frozen for longer than every deadline and thawed: nothing is lost by that",
            {
                "sleep_coordinator": 7,
                "cut": 3,
                "repair": 4,
                "freeze_node": 1,
                "restart_node": 1,
                "crash_coordinator": 1,
            },
            durations=(3_000, 90_000, 90_000, 400_000),
            paces=(500, 2_000, 5_000),
        ),
        Kind(
            "nights",
            "far more work than slots, and nobody leads: what was handed over is begun in turn, once",
            {
                "dispatch": 30,
                "sleep_coordinator": 4,
                "crash_coordinator": 2,
                "restart_node": 2,
                "crash_node": 3,
                "power": 2,
                "reboot_coordinator": 1,
                "cut": 3,
                "silence": 1,
                "repair": 5,
                "stop": 4,
                "drain": 5,
                "pause": 1,
                "wall": 1,
                "noise": 1,
            },
            nodes=(1, 2, 2, 3),
            durations=(500, 3_000, 20_000, 60_000, ENDLESS),
            paces=(500, 1_000, 3_000, 5_000),
            most_runs=30,
            ceiling_usd=Decimal(60),
        ),
        Kind(
            "flows",
            "workflows of every shape, stopped and resumed; coordinator -9 around each write",
            {
                "flow": 6,
                "stop_flow": 2,
                "resume_flow": 2,
                "crash_coordinator": 8,
                "crash_node": 2,
                "cut": 2,
                "silence": 2,
                "repair": 4,
                "power": 1,
            },
            steps=60,
            durations=(0, 500, 3_000, 20_000, 90_000),
            most_runs=3,
            ceiling_usd=Decimal(1_000),
        ),
        Kind(
            STRAINED,
            "machines decide by themselves how many runs they take, and are strained and calm in turn",
            {"strain": 10, "bounds": 6, "crash_node": 1, "restart_node": 1, "crash_coordinator": 1, "cut": 1},
            steps=60,
            paces=(1_000, 3_000, 5_000),
            intervals={"facts_ms": 1_000, "tighten_ms": 8_000, "loosen_ms": 20_000},
        ),
        Kind(
            INTERACTIVE_RUNS,
            "sessions: words at any time, cancel, rest, end; every process -9, power cuts, cut links",
            {
                "dispatch": 2,
                "talk": 16,
                "hush": 5,
                "kill_programs": 2,
                "kill_shims": 1,
                "crash_node": 3,
                "restart_node": 1,
                "crash_coordinator": 4,
                "cut": 2,
                "noise": 1,
                "silence": 1,
                "repair": 4,
                "power": 2,
                "power_fails": 1,
            },
            steps=60,
            most_runs=2,
            ceiling_usd=Decimal(1_000),
        ),
    )
}
NAMES = tuple(KINDS)


def kind_of(seed: int) -> Kind:
    """Every class in turn, but for those that have schedules of their own."""
    names = [name for name in NAMES if name not in (INTERACTIVE_RUNS, STRAINED, RESTORED_FLOWS)]
    return KINDS[names[seed % len(names)]]
