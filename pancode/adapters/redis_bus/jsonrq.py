"""RQ's Queue and Job with JSON only, for RQ's own tools; without them `rq info` unpickles what a node wrote.

    rq info --queue-class pancode.adapters.redis_bus.jsonrq.JsonQueue \\
            --job-class pancode.adapters.redis_bus.jsonrq.JsonJob
"""

from __future__ import annotations

from typing import Any

from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer


class JsonJob(Job):
    """A job that is never unpickled, whatever serializer the tool asks for."""

    def __init__(self, id: str | None = None, connection: Any = None, serializer: Any = None) -> None:
        super().__init__(id, connection, JSONSerializer)


class JsonQueue(Queue):
    """A queue of such jobs."""

    job_class = JsonJob

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "serializer": JSONSerializer})
