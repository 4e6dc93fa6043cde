"""The passports that this node has taken, in one small file; decides which still hold."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from node_agent.files.durable import write_atomic
from node_agent.wire.endpoint import EndpointFact, ExamCheck, Grade, ModelFact, PassportFact, Residence
from node_agent.wire.model import Count, WireModel

FILE = "passports.json"
MOST = 200
SICK_MS = 600_000
"""How long "the model did not answer" counts: a restart of its server changes none of its numbers."""
DAY_MS = 86_400_000
NUMBERED_MS, NAMED_MS = 7 * DAY_MS, DAY_MS
"""How long a passport counts if no digest identifies the model: by its numbers, and by its name alone."""
_log = logging.getLogger("pancode.node")


class StoredPassport(WireModel):
    """A passport, and what must still be so of its model and server."""

    endpoint: str
    model: str
    digest: str | None
    size: Count | None
    quantisation: str | None
    family: str | None = None
    parameters: Count | None = None
    ctx_max: Count | None = None
    version: str | None
    ctx: Count | None
    tools: bool | None
    fact: PassportFact

    @classmethod
    def of(cls, endpoint: EndpointFact, model: ModelFact, fact: PassportFact) -> StoredPassport:
        return cls(
            endpoint=endpoint.name,
            model=model.id,
            digest=model.digest,
            size=model.size,
            quantisation=model.quantisation,
            family=model.family,
            parameters=model.parameters,
            ctx_max=model.ctx_max,
            version=endpoint.version,
            ctx=model.ctx_usable,
            tools=model.tools,
            fact=fact,
        )

    def fits(self, endpoint: EndpointFact, model: ModelFact, now_ms: int) -> bool:
        """Check whether the model is as it was. Its server tells less while the model is not loaded.

        The time in lists of models (`created`) is of no use: servers put the time of the question there.
        """
        is_here = model.residence in (Residence.LOADED, None)
        if self.ctx != model.ctx_usable and is_here:
            return False
        lasts = self._lasts()
        is_fresh = lasts is None or 0 <= now_ms - self.fact.taken_ms < lasts
        return is_fresh and self._is(endpoint, model, is_here)

    def _is(self, endpoint: EndpointFact, model: ModelFact, is_here: bool) -> bool:
        if (self.endpoint, self.model, self.version) != (endpoint.name, model.id, endpoint.version):
            return False
        pairs = (
            (self.digest, model.digest),
            (self.size, model.size),
            (self.quantisation, model.quantisation),
            (self.family, model.family),
            (self.parameters, model.parameters),
            (self.ctx_max, model.ctx_max),
            (self.tools, model.tools),
        )
        return all(was == now or (now is None and not is_here) for was, now in pairs)

    def _lasts(self) -> int | None:
        first = self.fact.of(ExamCheck.ANSWERS)
        if first is not None and first.grade is not Grade.PASSED:
            return SICK_MS
        if self.digest is not None:
            return None
        return NAMED_MS if self.size is None and self.parameters is None else NUMBERED_MS


class _File(WireModel):
    passports: tuple[StoredPassport, ...] = Field(default=(), max_length=MOST)


class PassportCache:
    """Passports in memory and in the file. A file that cannot be read is begun anew: it only saves a minute
    each."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self._kept = _read(self._path)

    def find(self, endpoint: EndpointFact, model: ModelFact, now_ms: int) -> PassportFact | None:
        """The newest one of the model as it is now."""
        fitting = (one.fact for one in self._kept if one.fits(endpoint, model, now_ms))
        return max(fitting, key=lambda one: one.taken_ms, default=None)

    def put(self, kept: StoredPassport) -> None:
        """Put it instead of the model's older ones on the same server; the oldest of all are dropped
        first."""
        others = [one for one in self._kept if (one.endpoint, one.model) != (kept.endpoint, kept.model)]
        self._kept = tuple(sorted((*others, kept), key=lambda one: one.fact.taken_ms)[-MOST:])
        try:
            write_atomic(self._path, _File(passports=self._kept).model_dump_json().encode())
        except OSError as exc:  # a full disk: it counts until the node agent ends
            _log.warning("a model's passport could not be kept: %s", exc)


def _read(path: Path) -> tuple[StoredPassport, ...]:
    try:
        return _File.model_validate_json(path.read_bytes()).passports
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as exc:
        _log.warning("the passports of models cannot be read, and are taken anew: %s", exc)
        return ()


def stamped(cache: PassportCache, endpoints: Sequence[EndpointFact], now_ms: int) -> tuple[EndpointFact, ...]:
    """Each model with its passport, if it has one as it is now."""
    return tuple(_stamped(cache, one, now_ms) for one in endpoints)


def _stamped(cache: PassportCache, endpoint: EndpointFact, now_ms: int) -> EndpointFact:
    found = {model.id: cache.find(endpoint, model, now_ms) for model in endpoint.models}
    if not any(found.values()):
        return endpoint
    models = tuple(one.model_copy(update={"passport": found[one.id]}) for one in endpoint.models)
    return endpoint.model_copy(update={"models": models})
