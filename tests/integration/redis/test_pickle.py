"""Nothing that a node writes for RQ is unpickled or imported, by our commands or by the dashboard."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from node_agent.wire import keys
from node_agent.wire.identity import AttemptId
from pancode.app import administration
from pancode.kernel.errors import UsageError
from pancode.kernel.ports import JobToClose, Offer
from tests.integration.redis.conftest import PASSWORD, TAG, Site
from tests.integration.redis.test_tools import url

ROOT = Path(__file__).parents[3]
QUEUE, WORKER = keys.node_queue(TAG), f"rq:worker:{TAG}"
IDENTITY = AttemptId(run="r-0001", attempt=1, lease=1)
JOB = keys.job_id(TAG, IDENTITY)
STOCK = [sys.executable, "-W", "ignore", "-m", "rq.cli", "info"]
LOOKS = (["admin", "queue", "--rq", "info"], ["admin", "queue"])
PAGES = """
from rq import Queue, Worker
from rq.job import Job
from rq.registry import BaseRegistry
from rq.results import Result

def main():
    from redis import Redis
    connection, read, seen = Redis.from_url(URL), [], 0
    def see(look):
        nonlocal seen
        try:
            read.append(repr(look()))
            seen += 1
        except Exception as refused:
            read.append(repr(refused))
    job = Job.fetch(JOB, connection=connection)
    see(lambda: [worker.get_current_job() for worker in Worker.all(connection=connection)])
    for ask in ("args", "func", "meta", "result", "exc_info", "success_callback", "failure_callback",
                "stopped_callback", "to_dict", "latest_result", "results", "return_value", "get_executions"):
        def look(ask=ask):
            found = getattr(job, ask)
            return found() if callable(found) else found
        see(look)
    see(lambda: Result.all(job))
    for queue in Queue.all(connection=connection):
        see(lambda: queue.jobs)
        for kind in BaseRegistry.__subclasses__():
            registry = kind(queue.name, connection=connection)
            see(lambda: registry.count)
            for one in registry.get_job_ids():
                see(lambda: registry.job_class.fetch(one, connection=connection))
    print(seen, read)
"""
"""What the dashboard's pages do with RQ, each by the classes' defaults."""


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


@pytest.fixture
def mined(valkey_site: Site, tmp_path: Path) -> tuple[Site, Path]:
    """A job that runs, and a bomb in everything around it that its node may write, written as that node."""
    site, place = valkey_site, tmp_path / "boom"
    uplink = site.uplink()
    site.bus.push_jobs([Offer(TAG, IDENTITY, "order")])
    site.bus.set_heartbeats({TAG: "beat"})
    uplink.set_heartbeat("heart")
    assert uplink.claim() is not None
    bomb = pickle.dumps(Bomb(place), protocol=0)  # text, so that no decoder stops before it
    (tmp_path / "mine.py").write_text(f"import os\nos.mkdir({str(place)!r})\n")
    assert site.server.access.socket is not None
    node: Any = redis.Redis(
        unix_socket_path=site.server.access.socket, username=f"node-{TAG}", password=PASSWORD, protocol=2
    )
    callbacks = dict.fromkeys(("success", "failure", "stopped"), "mine.callback")
    fields: dict[str, Any] = dict.fromkeys(("data", "meta", "result", "exc_info", "description"), bomb)
    named: dict[str, Any] = {f"{name}_callback_name": called for name, called in callbacks.items()}
    node.hset(f"rq:job:{JOB}", mapping={**fields, **named})
    told: dict[str, Any] = {"type": "1", "return_value": b64encode(bomb)}
    node.xadd(f"rq:results:{JOB}", told)
    node.hset(WORKER, mapping={"current_job": JOB, "hostname": bomb, "state": "busy"})
    claim = node.zrange(f"rq:executions:{JOB}", 0, -1)[0].decode()
    node.hset(f"rq:execution:{JOB}:{claim}", "worker_name", bomb)
    for registry in ("wip", "finished", "failed"):
        node.zadd(f"rq:{registry}:{QUEUE}", {f"{JOB}:{claim}" if registry == "wip" else JOB: 1.0})
    node.close()
    return site, place


def run(argv: Sequence[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder), "NO_COLOR": "1", **more}
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=folder, env=environ)


def test_the_mine_is_live(mined: tuple[Site, Path], tmp_path: Path) -> None:
    site, place = mined
    run([*STOCK, "-u", url(site)], tmp_path)
    assert place.exists(), "RQ's own command line runs it"


def test_our_commands_run_nothing_and_change_nothing(mined: tuple[Site, Path], tmp_path: Path) -> None:
    site, place = mined
    before, users = site.admin.hgetall(f"rq:job:{JOB}"), site.admin.execute_command("ACL", "USERS")
    for words in LOOKS:
        done = run([sys.executable, "-m", "pancode", *words], tmp_path, PANCODE_REDIS_URL=url(site))
        assert done.returncode == 0 and QUEUE in done.stdout, (words, done.stdout, done.stderr)
        assert not [char for char in done.stdout if not char.isprintable() and char != "\n"]
        assert not place.exists(), words
    assert site.admin.hgetall(f"rq:job:{JOB}") == before
    assert site.admin.execute_command("ACL", "USERS") == users, "the login to look with is gone"
    assert site.admin.zcard(f"rq:wip:{QUEUE}") == 1, "and nothing was moved"


@pytest.mark.parametrize("words", [["worker"], ["requeue", "--all"], []])
def test_a_command_that_does_more_than_look_is_refused(tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(UsageError, check=lambda error: "pancode admin queue --rq info" in error.fix):
        administration.run_rq(words, tmp_path, {}, io.StringIO())


def test_another_redis_or_other_classes_are_refused(valkey_site: Site, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pancode", "admin", "queue", "--rq", "info", "--job-class", "rq.job.Job"]
    done = run(argv, tmp_path, PANCODE_REDIS_URL=url(valkey_site))
    assert done.returncode == 2 and "--job-class" in done.stderr, done.stderr


def test_the_dashboard_is_started_without_pickle(mined: tuple[Site, Path], tmp_path: Path) -> None:
    """By its start file, with what its pages ask of RQ in its place; the real one: test_images."""
    site, place = mined
    (tmp_path / "rq_dashboard").mkdir()
    text = f"URL, JOB = {url(site)!r}, {JOB!r}\n{PAGES}"
    (tmp_path / "rq_dashboard/cli.py").write_text(text)
    shutil.copy(ROOT / "pancode/queue/rq_json.py", tmp_path)
    done = run([sys.executable, str(ROOT / "deploy/dashboard/start.py")], tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0 and not place.exists(), done.stderr
    assert int(done.stdout.split()[0]) > 10 and "NotImportedError" in done.stdout, done.stdout
    bare = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from rq_dashboard.cli import main; main()"
    run([sys.executable, "-c", bare], tmp_path)
    assert place.exists(), "without it, it would have run"


def test_the_coordinator_reads_none_of_it(mined: tuple[Site, Path]) -> None:
    site, place = mined
    site.bus.queues()
    site.bus.named_jobs(TAG, 0)
    site.bus.close_jobs([JobToClose(TAG, IDENTITY, True, "")])
    site.bus.push_jobs([Offer(TAG, IDENTITY, "order")])
    site.bus.weigh()
    site.bus.expel_node(TAG)
    assert not place.exists()


def test_the_node_agent_reads_none_of_it(mined: tuple[Site, Path]) -> None:
    """Whatever runs beside it as its user: what is no job ends as failed, and it continues."""
    site, place = mined
    uplink, job = site.uplink(), f"rq:job:{JOB}"
    site.admin.hset(job, "status", "queued")
    site.admin.rpush(f"rq:queue:{QUEUE}", JOB)
    mines = site.admin.hgetall(job)
    del mines[b"status"], mines[b"data"]
    second = AttemptId(run="r-0002", attempt=1, lease=1)
    site.bus.push_jobs([Offer(TAG, second, "good")])
    site.admin.hset(
        f"rq:job:{keys.job_id(TAG, second)}", mapping={n: v for n, v in mines.items() if n != b"data"}
    )
    assert uplink.news("0", claim=True).claimed is not None
    assert site.admin.hget(job, "status") == b"failed"
    uplink.set_heartbeat("heart")
    uplink.settle_job(keys.job_id(TAG, second), True, "")
    assert site.admin.hget(f"rq:job:{keys.job_id(TAG, second)}", "status") == b"finished"
    assert not place.exists()
