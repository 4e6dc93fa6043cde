"""The node as a worker of RQ: claims and closes jobs with RQ's own code, and runs none of them.

RQ's loop is not used: it loses results in an outage, and would import what a job names. Of an RQ job only the
signed job is read, as text; its signature decides later what may be done.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError, WatchError
from rq.executions import Execution, ExecutionRegistry
from rq.job import JobStatus
from rq.queue import Queue
from rq.registry import BaseRegistry
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.utils import now, utcformat
from rq.worker.base import BaseWorker, WorkerStatus

from node_agent.link.rqjson import JsonJob, JsonQueue
from node_agent.wire import keys

ENVELOPE_CAP = 8 * 2**20
WORKER_TTL_S = 60
KEEP_CLOSED_S = 7 * 24 * 3600
NEVER_S = 100 * 365 * 24 * 3600
"""RQ's lease of a running job, in seconds: only the coordinator decides that a job is lost."""


class PoisonError(Exception):
    """A job that the coordinator would not put into a queue; the text is the reason."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """A claim that was sent, but whose success is not known yet."""

    job: str
    execution: str
    envelope: bytes


class NodeWorker(BaseWorker):
    """One worker, named by the node's tag, on the node's own queue. `claim` is for one thread at a time."""

    queue_class: type[Queue] = JsonQueue
    job_class = JsonJob

    def __init__(self, tag: str, connection: Any, before: NodeWorker | None = None) -> None:
        """`before`: the same worker on an earlier connection, which may still await the answer to a claim."""
        super().__init__(
            [keys.node_queue(tag)],
            name=tag,
            connection=connection,
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_S,
        )
        (self.queue,) = self.queues
        self.birth_date = now() if before is None else before.birth_date
        self._unanswered: _Claim | None = None if before is None else before._unanswered

    # -- what RQ's own would do otherwise -------------------------------------------------------------------

    def _set_connection(self, connection: Any) -> Any:
        """Return the connection unchanged, because our own time-outs apply and nothing blocks in Redis."""
        return connection

    def _set_ip_address(self, connection: Any) -> None:
        """Skip the query of the address, because this user may not query it from the server."""
        self.ip_address = "unknown"

    def perform_job(self, job: Any, queue: Any) -> bool:
        raise PermissionError("an RQ job can only be run through its signed job")

    # -- a job ----------------------------------------------------------------------------------------------

    @property
    def unsure(self) -> bool:
        """Whether the last claim's answer was lost, so that `claim` must settle that claim first."""
        return self._unanswered is not None

    def claim(self) -> tuple[str, bytes] | None:
        """Return (id, job) of the next RQ job and mark it started; a job without a signed job is failed."""
        while True:
            if (lost := self._unanswered) is not None:
                registry = ExecutionRegistry(lost.job, self.connection)
                started = self.connection.zscore(registry.key, lost.execution) is not None
                self._unanswered = None
                if started:
                    return lost.job, lost.envelope
            ids = self.queue.get_job_ids(0, 1)
            if not ids:
                return None
            try:
                claimed = self._take(ids[0])
            except WatchError:  # another process took the job, or the connection was lost meanwhile
                continue
            if claimed is not None:
                self._unanswered = None
                return claimed.job, claimed.envelope

    def _take(self, job_id: str) -> _Claim | None:
        """Remove that job from the queue in one step; None if it is not in ours, or has no signed job."""
        job = self._make_job(job_id)
        own = job_id.startswith(keys.job_prefix(self.name)) and ":" not in job_id
        with self._open_pipeline() as pipe:
            if own:
                pipe.watch(job.key)
            status, *rest = _read_fields(pipe, job) if own else [None]
            pipe.multi()
            self.queue.remove(job_id, pipeline=pipe)
            if status != JobStatus.QUEUED.encode():
                pipe.execute()
                return None
            try:
                envelope = envelope_of(*rest)
            except PoisonError as exc:
                self._close(pipe, job, False, f"not a signed job: {exc}")
                pipe.execute()
                return None
            execution = Execution.create(job, NEVER_S, pipe, self.name)
            job.prepare_for_execution(self.name, pipe)
            self._unanswered = _Claim(job_id, execution.id, envelope)
            pipe.execute()
            return self._unanswered

    def settle(self, job_id: str, ok: bool, reason: str) -> None:
        """Mark the job as finished or failed in RQ's registries. No effect if it is missing or closed."""
        job = self._make_job(job_id)
        while True:
            with self._open_pipeline() as pipe:
                pipe.watch(job.key)
                status = pipe.hget(job.key, "status")
                if status not in (JobStatus.STARTED.encode(), JobStatus.QUEUED.encode()):
                    return
                executions = ExecutionRegistry(job.id, self.connection).get_execution_ids()
                pipe.multi()
                for one in executions:
                    Execution(one, job.id, self.connection).delete(job, pipe)
                self.queue.remove(job.id, pipeline=pipe)
                self._close(pipe, job, ok, reason)
                try:
                    pipe.execute()
                    return
                except WatchError:  # the coordinator has closed or requeued the job
                    continue

    def _close(self, pipe: Any, job: JsonJob, ok: bool, reason: str) -> None:
        """Close the job without RQ's own functions, which need the call; one of them also hides errors."""
        job.set_status(JobStatus.FINISHED if ok else JobStatus.FAILED, pipe)
        pipe.hset(job.key, "ended_at", utcformat(now()))
        pipe.expire(job.key, KEEP_CLOSED_S)
        registry = job.finished_job_registry if ok else job.failed_job_registry
        BaseRegistry.add(registry, job, KEEP_CLOSED_S, pipe)
        kind = Result.Type.SUCCESSFUL if ok else Result.Type.FAILED
        value, text = (reason or "done", None) if ok else (None, reason)
        Result.create(job, kind, KEEP_CLOSED_S, value, text, self.name, pipe)
        count = self.increment_successful_job_count if ok else self.increment_failed_job_count
        count(pipe)
        self.heartbeat(pipeline=pipe)

    def _open_pipeline(self) -> Any:
        return self.connection.pipeline()

    def _make_job(self, job_id: str) -> JsonJob:
        """Return the job object for this id, without reading the job from Redis."""
        job = JsonJob(connection=self.connection)
        job._id = job_id  # RQ would refuse some ids that may be in a queue
        job.origin = self.queue.name
        return job

    # -- the worker -----------------------------------------------------------------------------------------

    def show(self, pipe: Any) -> None:
        """Write the worker's whole hash, which Redis may have lost. RQ's sets of workers are not updated."""
        running = self.queue.started_job_registry.get_job_count(cleanup=False)
        self.heartbeat(pipeline=pipe)
        pipe.hset(self.key, mapping=self.serialize())
        self.set_state(WorkerStatus.BUSY if running else WorkerStatus.IDLE, pipe)


def _read_fields(watching: Any, job: JsonJob) -> list[bytes | None]:
    """Return the fields of a job that this module needs."""
    try:
        found: list[bytes | None] = watching.hmget(job.key, ["status", "data", "timeout"])
    except ResponseError as exc:
        if not str(exc).startswith("WRONGTYPE"):
            raise
        return [None]  # the key of the job has another type of value
    return found


def envelope_of(data: bytes | None, timeout: bytes | None) -> bytes:
    """Return the only argument of the job. PoisonError for data that the coordinator would not write."""
    if data is None:
        raise PoisonError("the job has no data")
    if timeout != b"-1":
        raise PoisonError("the job has a timeout, but signed jobs have none")
    try:
        call = json.loads(_inflate_data(data))
    except (ValueError, RecursionError) as exc:
        raise PoisonError("the job's data is not JSON") from exc
    match call:
        case [keys.ENTRY, None, [str(envelope)], dict(options)] if not options:
            return envelope.encode("utf-8", "surrogatepass")
    raise PoisonError("the job must be a call with a signed job as its only argument")


def _inflate_data(data: bytes) -> bytes:
    """Return the decompressed data, with a size limit, because a few bytes can grow to gigabytes."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(data, ENVELOPE_CAP)
    except zlib.error as exc:
        raise PoisonError("the job's data is not compressed") from exc
    if stream.unconsumed_tail or not stream.eof:
        raise PoisonError(f"the job's data is truncated, or longer than {ENVELOPE_CAP} bytes")
    return text
