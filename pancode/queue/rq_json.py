"""Makes RQ harmless in this process: it reads only JSON, imports no function of a job, and changes nothing.

RQ's own tools make many of their objects with the default serializer, pickle, regardless of options, and a
node may write the fields that they unpickle. So the default itself is replaced before they run. This file
imports only RQ: the image of the dashboard copies it alone.
"""

from __future__ import annotations

import sys
from typing import Any

import rq.cli
import rq.job
import rq.registry
import rq.serializers
import rq.worker
import rq.worker_registration
from rq.serializers import DefaultSerializer, JSONSerializer


class NotImportedError(ValueError):
    """A job names a function or a callback; these are never imported here."""


def make_harmless() -> None:
    """Make every part of RQ, including modules imported later, read only JSON. Idempotent."""
    DefaultSerializer.loads = staticmethod(JSONSerializer.loads)
    DefaultSerializer.dumps = staticmethod(JSONSerializer.dumps)
    rq.serializers.SERIALIZER_ALIASES["pickle"] = JSONSerializer
    _replace("resolve_serializer", _only_json)
    vars(rq.job)["import_attribute"] = _not_imported
    # RQ "cleans" a registry when it reads it: it fetches jobs, calls their callbacks and moves the jobs.
    _replace("clean_registries", _do_nothing)
    _replace("clean_worker_registry", _do_nothing)
    # A worker that has expired is "cleaned" when it is listed.
    find = vars(rq.worker.BaseWorker)["find_by_key"].__func__

    def find_existing(
        kind: Any,
        key: str,
        connection: Any,
        job_class: Any = None,
        queue_class: Any = None,
        serializer: Any = None,
    ) -> Any:
        return (
            find(kind, key, connection, job_class, queue_class, serializer)
            if connection.exists(key)
            else None
        )

    rq.worker.BaseWorker.find_by_key = classmethod(find_existing)  # type: ignore[method-assign, assignment]
    for registry in _list_registries(rq.registry.BaseRegistry):
        registry.cleanup = _do_nothing  # type: ignore[method-assign]


def _replace(name: str, ours: Any) -> None:
    """Replace this function in each of RQ's modules that has a copy of it."""
    for module in [m for n, m in sys.modules.items() if n == "rq" or n.startswith("rq.")]:
        if hasattr(module, name):
            setattr(module, name, ours)


def _list_registries(kind: type[rq.registry.BaseRegistry]) -> list[type[rq.registry.BaseRegistry]]:
    return [kind, *(found for below in kind.__subclasses__() for found in _list_registries(below))]


def _only_json(_asked: Any = None) -> Any:
    return JSONSerializer


def _not_imported(name: str) -> Any:
    raise NotImportedError(f"refused to import {name!r}: names in jobs are never imported")


def _do_nothing(*_args: Any, **_options: Any) -> None:
    """Replace RQ's functions that change data while reading."""
