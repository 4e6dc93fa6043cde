"""What of a job is believed: exactly the call that a coordinator writes, and nothing near it."""

from __future__ import annotations

import json
import os
import platform
import socket
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from rq.serializers import JSONSerializer
from rq.worker.base import BaseWorker

from node_agent.link.rqworker import ENVELOPE_CAP, NodeWorker, PoisonError, envelope_of
from node_agent.wire import keys
from tests.fakes.node import MemoryClock


class RqWorker(BaseWorker):
    """RQ's own, which asks the server for nothing."""

    def _set_connection(self, connection: Any) -> Any:
        return connection


def test_the_worker_is_written_as_rq_writes_one() -> None:
    clock = MemoryClock()
    ours = NodeWorker("0123456789", clock)
    theirs = RqWorker(
        keys.node_queue("0123456789"),
        name="0123456789",
        connection=Redis(),  # never spoken to
        serializer=JSONSerializer,
        prepare_for_work=False,
    )
    theirs.hostname, theirs.pid = socket.gethostname(), os.getpid()
    theirs.python_version = platform.python_version()
    theirs.birth_date = datetime.fromtimestamp(clock.wall_ms() / 1000, UTC)
    clock.advance(5_000)
    theirs.last_heartbeat = datetime.fromtimestamp(clock.wall_ms() / 1000, UTC)
    assert ours.fields() == theirs.serialize()
    assert (ours.key, ours.queue) == (theirs.key, theirs.queue_names()[0])


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
