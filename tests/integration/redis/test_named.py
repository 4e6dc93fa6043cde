"""A node writes names and counters for RQ as it likes: it costs itself its place, and the others nothing."""

from __future__ import annotations

import time
from typing import Any

import pytest

from node_agent.wire import keys
from node_agent.wire.identity import AttemptId
from pancode.kernel.ports import JobToClose, Offer
from pancode.kernel.records import Audit
from pancode.runs.core import ControlSettings
from pancode.runs.reconcile import EVERY_MS
from tests.integration.redis.conftest import TAG, Site
from tests.integration.redis.test_quota import RealFleet
from tests.integration.redis.test_rights import as_node

ROUND_S = 10
"""A round with 200,000 names took more than 60 s, and others' jobs were not pushed; now it takes 0.1 s."""


def turns(fleet: RealFleet) -> float:
    """Two rounds, in the first of which everything is looked at; how long they took."""
    began = time.monotonic()
    fleet.coordinator.turn(EVERY_MS)
    fleet.coordinator.turn()
    return time.monotonic() - began


def culprits(fleet: RealFleet) -> list[Any]:
    return [a.detail["node"] for a in fleet.coordinator.rows(Audit) if a.what == "node quarantined"]


def many(client: Any, key: str, members: list[str]) -> None:
    for start in range(0, len(members), 10_000):
        client.zadd(key, dict.fromkeys(members[start : start + 10_000], 1e18))


def test_200_000_names_of_jobs_that_run(valkey_site: Site) -> None:
    fleet = RealFleet(valkey_site)
    fleet.coordinator.core.rules = ControlSettings()  # far below the shipped quota
    tag = fleet.bad.tag
    members = [f"{tag}_r-zz{number:07d}_1_1:x" for number in range(200_000)]
    many(as_node(valkey_site, tag), f"rq:wip:{keys.node_queue(tag)}", members)
    assert turns(fleet) < ROUND_S and culprits(fleet) == ["bad"]
    assert "200000 jobs as started" in (fleet.quarantined() or "")
    fleet.still_works()
    assert fleet.left() == []


def test_a_counter_that_is_no_number(site: Site) -> None:
    fleet = RealFleet(site)
    due = running(fleet)
    as_node(site, fleet.bad.tag).hset(f"rq:worker:{fleet.bad.tag}", "successful_job_count", "abc")
    fleet.bad.deliver(due)
    fleet.still_works()
    assert culprits(fleet) == ["bad"] and "not a number" in (fleet.quarantined() or "")


def test_the_name_of_another_nodes_job(site: Site) -> None:
    fleet = RealFleet(site)
    theirs, mine = waiting(fleet), running(fleet)
    names = [f"{fleet.bad.tag}_r-pad{number:05d}_1_1" for number in range(260)]
    client = as_node(site, fleet.bad.tag)
    client.zadd(f"rq:finished:{keys.node_queue(fleet.bad.tag)}", {theirs: 1e12, **dict.fromkeys(names, 2e12)})
    client.zadd(f"rq:wip:{keys.node_queue(fleet.bad.tag)}", {f"{theirs}:x": 1e18})
    fleet.bad.deliver(mine)
    turns(fleet)
    assert site.admin.exists(f"rq:job:{theirs}") and culprits(fleet) == ["bad"]
    due = fleet.good.claim()
    assert due is not None and keys.job_id(fleet.good.tag, due.identity) == theirs
    fleet.still_works()


def test_a_few_names_of_jobs_that_are_over_go_and_nobody_is_blamed(site: Site) -> None:
    fleet = RealFleet(site)
    key = f"rq:wip:{keys.node_queue(fleet.bad.tag)}"
    many(as_node(site, fleet.bad.tag), key, [f"{fleet.bad.tag}_r-{n:04d}_1_1:x" for n in range(300)])
    for _ in range(6):
        turns(fleet)
    assert site.admin.zcard(key) == 0 and culprits(fleet) == []


def running(fleet: RealFleet) -> Any:
    fleet.coordinator.dispatch("r-bad0", node="bad")
    for _ in range(3):
        fleet.bad.breathe()
    due = fleet.bad.claim()
    assert due is not None
    fleet.bad.start(due)
    fleet.coordinator.turn()
    return due


def waiting(fleet: RealFleet) -> str:
    """The id of a job that waits in the honest node's queue."""
    fleet.coordinator.dispatch("r-wait", node="good")
    for _ in range(2):
        fleet.good.breathe()
    (job,) = fleet.site.admin.lrange(f"rq:queue:{keys.node_queue(fleet.good.tag)}", 0, -1)
    found: str = job.decode()
    return found


@pytest.mark.parametrize("value", ["abc", str(2**63 - 1), "1.5", ""])
def test_closing_puts_a_counter_right_and_says_whose_it_was(site: Site, value: str) -> None:
    uplink = site.uplink()
    one, two = AttemptId(run="r-0001", attempt=1, lease=1), AttemptId(run="r-0002", attempt=1, lease=1)
    site.bus.push_jobs([Offer(TAG, one, "order"), Offer(TAG, two, "order")])
    uplink.set_heartbeat("heart")
    assert uplink.claim() and uplink.claim()
    as_node(site, TAG).hset(f"rq:worker:{TAG}", "successful_job_count", value)
    odd = site.bus.close_jobs([JobToClose(TAG, one, True, ""), JobToClose(TAG, two, True, "")])
    assert list(odd) == [TAG]
    assert site.admin.zcard(f"rq:finished:{keys.node_queue(TAG)}") == 2
