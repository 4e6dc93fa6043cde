"""RQ's classes as used by coordinator and node; they read and write only JSON.

RQ unpickles its data unless each object is configured otherwise, and a node may write the fields of its own
jobs. So the serializer is fixed here, and callers cannot omit it.
"""

from __future__ import annotations

from typing import Any

from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer

OLDEST_SERVER = (6, 2, 0)
"""The oldest supported version of the Redis server; given to RQ, so that RQ does not query it each time."""


class JsonJob(Job):
    """An RQ job whose call, meta and result are JSON."""

    def __init__(self, id: str | None = None, connection: Any = None, serializer: Any = None) -> None:
        super().__init__(id, connection, JSONSerializer)


class JsonQueue(Queue):
    """A queue of JSON jobs; its registries contain JSON jobs, too."""

    job_class = JsonJob

    def __init__(self, name: str, connection: Any, **options: Any) -> None:
        super().__init__(name, connection, **{**options, "job_class": JsonJob, "serializer": JSONSerializer})

    def get_redis_server_version(self) -> tuple[int, int, int]:
        return OLDEST_SERVER
