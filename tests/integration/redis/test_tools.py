"""RQ's own `info`, made harmless, sees the truth."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from urllib.parse import quote

import pytest
import redis
from rq.job import Job
from rq.queue import Queue
from rq.registry import FailedJobRegistry, FinishedJobRegistry
from rq.serializers import JSONSerializer

from node_agent.wire import keys
from node_agent.wire.clock import SystemIds
from node_agent.wire.identity import AttemptId
from pancode.kernel.ports import JobToClose, Offer, Ticket
from pancode.queue.inspection import open_read_access
from pancode.queue.valkey.access import connect
from tests.crowd import until
from tests.integration.redis.conftest import TAG, Site

QUEUE = keys.node_queue(TAG)


def identity(number: int) -> AttemptId:
    return AttemptId(run=f"r-{number:04d}", attempt=1, lease=1)


def url(site: Site) -> str:
    access = site.server.access
    login = f"{access.user or ''}:{quote(access.password or '', safe='')}@"
    if access.socket is not None:
        return f"unix://{login}{access.socket}"
    return f"redis://{login}{access.host}:{access.port}/0"


def rq_info(site: Site) -> str:
    """In a process of its own, as it changes RQ for good."""
    look = (
        "import sys; from pancode.queue import inspection as i;"
        "from pancode.queue.valkey.access import access_from_url as of;"
        "from node_agent.wire.clock import SystemIds;\n"
        "with i.open_read_access(of(sys.argv[1], 'test'), SystemIds()) as access:\n"
        "    i.rq_info(access, ['info'], sys.stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", look, url(site)],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": ".", "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def fetched(site: Site, job: str) -> Job:
    return Job.fetch(job, connection=site.admin, serializer=JSONSerializer)


def queue_of(site: Site, name: str) -> Queue:
    return Queue(name, connection=site.admin, serializer=JSONSerializer)


def busy_fleet(site: Site) -> None:
    """Four jobs: one waits, one runs, one is finished, one failed; and one ticket."""
    node = site.uplink()
    for number in range(4):
        site.bus.push_jobs([Offer(TAG, identity(number), f"job {number}")])
    claims = [node.claim() for _ in range(3)]
    jobs = [claim.rq_job for claim in claims if claim is not None]
    site.bus.set_heartbeats({TAG: "beat"})
    node.set_heartbeat("heart")
    node.settle_job(jobs[1], True, "")
    node.settle_job(jobs[2], False, "refused: too_late")
    node.set_heartbeat("heart")
    site.bus.show_tickets([Ticket(keys.pool_queue("gpu"), "r-0009", 1, "repair the gate", "coder", 5)])


def test_rq_info_shows_queues_jobs_and_the_node(site: Site) -> None:
    busy_fleet(site)
    shown = rq_info(site)
    (line,) = [line for line in shown.splitlines() if line.startswith(QUEUE)]
    assert line.endswith("1, 1 executing, 1 finished, 1 failed")
    (pool,) = [line for line in shown.splitlines() if line.startswith("pool.gpu")]
    assert pool.endswith("1, 0 executing, 0 finished, 0 failed")
    (worker,) = [line for line in shown.splitlines() if line.startswith(f"{TAG} (")]
    assert f"busy {QUEUE}. jobs: 1 finished, 1 failed" in worker
    assert "1 workers, 2 queues" in shown
    assert "1 executing, 1 finished, 1 failed" in rq_info(site)  # looking changes nothing


def test_rq_info_while_a_node_is_away(site: Site) -> None:
    """RQ would remove the expired worker, which this login may not do and need not do."""
    busy_fleet(site)
    site.admin.pexpire(f"rq:worker:{TAG}", 1)
    until(lambda: not site.admin.exists(f"rq:worker:{TAG}"), "the worker expires")
    before = {key: site.admin.dump(key) for key in site.admin.scan_iter(match="rq:*")}
    shown = rq_info(site)
    assert "0 workers, 2 queues" in shown and "1 executing, 1 finished, 1 failed" in shown
    assert {key: site.admin.dump(key) for key in site.admin.scan_iter(match="rq:*")} == before
    with open_read_access(site.server.access, SystemIds()) as access, closing(connect(access)) as reader:
        for command in (("SREM", "rq:workers", "x"), ("DEL", "rq:workers"), ("SET", "rq:x", "1")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                reader.execute_command(*command)


def test_rq_reads_our_jobs_as_its_own(site: Site) -> None:
    busy_fleet(site)
    queue = queue_of(site, QUEUE)
    assert queue.job_ids == [keys.job_id(TAG, identity(3))]
    (waiting,) = queue.jobs
    assert (waiting.func_name, waiting.args, waiting.kwargs) == (keys.ENTRY, ["job 3"], {})
    assert (
        waiting.get_status() == "queued" and waiting.timeout == -1 and waiting.description == "job r-0003.1.1"
    )
    started = fetched(site, keys.job_id(TAG, identity(0)))
    assert started.get_status() == "started" and started.worker_name == TAG and started.started_at is not None
    assert queue.started_job_registry.get_job_ids() == [started.id]
    failed = fetched(site, keys.job_id(TAG, identity(2)))
    result = failed.latest_result()
    assert result is not None and result.exc_string == "refused: too_late"
    assert FailedJobRegistry(QUEUE, connection=site.admin).get_job_ids() == [failed.id]
    assert FinishedJobRegistry(QUEUE, connection=site.admin).get_job_ids() == [keys.job_id(TAG, identity(1))]
    (ticket,) = queue_of(site, keys.pool_queue("gpu")).jobs
    assert ticket.description == "coder: repair the gate" and ticket.meta["priority"] == 5


def test_no_tool_declares_a_running_job_dead(site: Site) -> None:
    busy_fleet(site)
    registry = queue_of(site, QUEUE).started_job_registry
    registry.cleanup(timestamp=4e9)
    assert registry.get_job_ids() == [keys.job_id(TAG, identity(0))]
    assert site.admin.hget("rq:job:" + keys.job_id(TAG, identity(0)), "status") == b"started"


def test_a_ticket_cannot_be_run(site: Site) -> None:
    """Somebody starts a stock worker on a pool queue: the ticket fails, nothing runs, and it comes back."""
    busy_fleet(site)
    pool = keys.pool_queue("gpu")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "rq.cli", "worker", "--burst", "-u", url(site)]
        + ["-S", "rq.serializers.JSONSerializer", pool],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert "Traceback" in done.stderr and "pancode.ticket" in done.stderr, done.stderr
    ticket = Ticket(pool, "r-0009", 1, "repair the gate", "coder", 5)
    site.bus.show_tickets([ticket])
    assert [view.waiting for view in site.bus.queues() if view.name == pool] == [("ticket_r-0009_1",)]


def test_closed_jobs_do_not_pile_up(valkey_site: Site) -> None:
    from node_agent.wire.clock import SystemClock
    from pancode.queue.queue import BusIntervals, RedisBus

    site = valkey_site
    bus = RedisBus(site.server.access, SystemClock(), BusIntervals(keep_closed=3))
    site.opened.append(bus)
    for number in range(8):
        bus.push_jobs([Offer(TAG, identity(number), "order")])
        bus.close_jobs([JobToClose(TAG, identity(number), True, "")])
    kept = FinishedJobRegistry(QUEUE, connection=site.admin).get_job_ids()
    assert kept == [keys.job_id(TAG, identity(number)) for number in (5, 6, 7)]
    assert len(list(site.admin.scan_iter(match="rq:job:*"))) == 3
    assert 0 < site.admin.ttl("rq:job:" + kept[0]) <= 7 * 24 * 3600
