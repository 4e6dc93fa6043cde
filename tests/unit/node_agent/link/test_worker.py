"""What of a job is believed: exactly the call that a coordinator writes, and nothing near it."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer, PickleSerializer

from node_agent.link.rqjson import JsonJob, JsonQueue
from node_agent.link.worker import ENVELOPE_CAP, NodeWorker, PoisonError, envelope_of
from node_agent.wire import keys


@pytest.mark.parametrize("asked", [None, "pickle", "rq.serializers.PickleSerializer", PickleSerializer])
def test_no_class_of_rq_that_we_use_can_be_made_to_unpickle(asked: Any) -> None:
    connection = Redis()  # never spoken to
    worker = NodeWorker("0123456789", connection)
    queues = [
        worker.queue,
        JsonQueue("node.x", connection, serializer=asked, job_class=Job),
        JsonQueue.from_queue_key("rq:queue:x", connection, job_class=Job, serializer=asked),
    ]
    jobs: list[Job] = [JsonJob("x", connection, asked)]
    for queue in queues:
        registries = [getattr(queue, f"{kind}_job_registry") for kind in ("started", "finished", "failed")]
        jobs += [queue.create_job("a.b"), *(one.job_class("x", connection, asked) for one in registries)]
        assert {one.serializer for one in (queue, *registries)} == {JSONSerializer}
    assert {job.serializer for job in jobs} == {JSONSerializer} == {worker.serializer}
    assert {type(job) for job in jobs} == {JsonJob}


def test_nothing_of_a_job_is_run() -> None:
    worker = NodeWorker("0123456789", Redis())
    with pytest.raises(NotImplementedError):
        worker.execute_job(JsonJob("x", worker.connection), worker.queue)
    with pytest.raises(PermissionError):
        worker.perform_job(JsonJob("x", worker.connection), worker.queue)


def packed(call: object) -> bytes:
    return zlib.compress(json.dumps(call).encode())


@given(st.text())
def test_any_text_comes_through(envelope: str) -> None:
    data = packed([keys.ENTRY, None, [envelope], {}])
    assert envelope_of(data, b"-1") == envelope.encode("utf-8", "surrogatepass")


GOOD = packed([keys.ENTRY, None, ["order"], {}])


@pytest.mark.parametrize(
    ("data", "timeout"),
    [
        (None, b"-1"),
        (GOOD, None),
        (GOOD, b"180"),
        (GOOD, b"abc"),
        (b"", b"-1"),
        (b"order", b"-1"),
        (GOOD[:-2], b"-1"),
        (zlib.compress(b"\xff"), b"-1"),
        (zlib.compress(b"[" * 200_000), b"-1"),
        (packed([keys.ENTRY, None, ["x" * (ENVELOPE_CAP + 1)], {}]), b"-1"),
        (packed("order"), b"-1"),
        (packed({"args": ["order"]}), b"-1"),
        (packed([keys.ENTRY, "instance", ["order"], {}]), b"-1"),
        (packed([keys.ENTRY, None, ["order", "order"], {}]), b"-1"),
        (packed([keys.ENTRY, None, [7], {}]), b"-1"),
        (packed([keys.ENTRY, None, "order", {}]), b"-1"),
        (packed([keys.ENTRY, None, ["order"], {"a": 1}]), b"-1"),
        (packed(["os.system", None, ["order"], {}]), b"-1"),
    ],
)
def test_everything_else_is_poison(data: bytes | None, timeout: bytes | None) -> None:
    with pytest.raises(PoisonError) as caught:
        envelope_of(data, timeout)
    assert str(caught.value).startswith("the job")


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(PoisonError):
        envelope_of(zlib.compress(data), b"-1")
