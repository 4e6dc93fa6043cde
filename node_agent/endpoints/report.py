"""Builds the heartbeat's report of known model servers: named, capped, each problem with its fix. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from node_agent.endpoints.places import EndpointAddress
from node_agent.endpoints.probing import KnownServer
from node_agent.wire.endpoint import Dialect, EndpointFact, Health, Residence, troubled
from node_agent.wire.node import NodeProblem

MOST_MODELS = 40
"""The most models of all endpoints together."""
MOST_ENDPOINTS = 16
TRUST = (
    'if you trust it, write its url into "endpoints", or its user into "users", of endpoints.json of the node'
)
_FIRST = (Residence.LOADED, Residence.ASLEEP, Residence.NOT_LOADED, None)


def fact(name: str, place: EndpointAddress, known: KnownServer, now_ms: int) -> EndpointFact | None:
    """None when nothing is there."""
    identity, reading = known.identity, known.reading
    if identity is None or reading is None or known.unused:
        return None
    health, words, fix = _health(name, place, known)
    models = sorted(reading.models, key=lambda one: (one.embedding, _FIRST.index(one.residence)))
    return EndpointFact(
        name=name,
        dialect=identity.dialect,
        at=place.at,
        version=reading.version,
        health=health,
        words=words,
        fix=fix,
        slots=place.slots or reading.slots,
        slots_free=reading.slots_free,
        wires=place.wires or reading.wires,
        free=place.costs_nothing,
        age_ms=max(now_ms - known.seen_ms, 0),
        models=tuple(models),
    )


def _health(name: str, place: EndpointAddress, known: KnownServer) -> tuple[Health, str, str]:
    if known.reading is not None and known.reading.locked:
        words = f"it does not take the key {place.key}" if known.key else "it wants a key"
        secret = place.key or "GPU_KEY"
        entry = f'{{"name": "{name}", "url": "{place.url}", "key": "{secret}"}}'
        fix = f"put the key into secrets.json of the node as {secret}, and {entry} into its endpoints.json"
        return Health.NEEDS_KEY, words, fix
    if known.progress.words:
        return Health.WEDGED, known.progress.words, f"restart the server at {place.at}"
    return Health.OK, "", ""


def named(
    places: Sequence[tuple[EndpointAddress, Dialect | None]], given: dict[EndpointAddress, str]
) -> dict[EndpointAddress, str]:
    """A name for each place with a server; one that was given stays."""
    used = {*given.values(), *(place.name for place, _ in places if place.name)}
    names = dict(given)
    for place, dialect in places:
        if place in names or dialect is None:
            continue
        names[place] = place.name or _new_name(place, dialect, used)
        used.add(names[place])
    return names


def _new_name(place: EndpointAddress, dialect: Dialect, used: set[str]) -> str:
    stem = f"{place.prefix}-{dialect}" if place.prefix else str(dialect)
    stem = stem if place.prefix or place.is_here else f"{dialect}-{place.host}"
    return stem if stem not in used else f"{stem}-{place.port}"


def capped(facts: Sequence[EndpointFact]) -> tuple[EndpointFact, ...]:
    """The report with as many models as a heartbeat carries: a fair share of each endpoint, loaded models
    first."""
    kept, left = [], MOST_MODELS
    ordered = sorted(facts[:MOST_ENDPOINTS], key=lambda one: len(one.models))
    for number, one in enumerate(ordered):
        share = min(len(one.models), left // (len(ordered) - number))
        left -= share
        kept.append(one.model_copy(update={"models": one.models[:share], "more": len(one.models) - share}))
    return tuple(sorted(kept, key=lambda one: one.name))


def problems(
    servers: Sequence[tuple[str, EndpointAddress, KnownServer, EndpointFact | None]],
) -> tuple[NodeProblem, ...]:
    """The problems for `fleet status`: a listed server that is missing, and a present one that is not well or
    not used."""
    reported = []
    for name, place, known, found in servers:
        if found is None and place.listed:
            what = troubled(name, place.at, known.trouble or "was not looked at yet")
            fix = known.fix or f"start it, or take it out of {_where(place)}"
            reported.append(NodeProblem(what=what[:500], fix=fix))
        elif known.unused and known.identity is not None:
            what = f"a model server at {place.at} is there and not used: {known.unused}"
            reported.append(NodeProblem(what=what[:500], fix=TRUST))
        elif found is not None and found.health is not Health.OK:
            reported.append(
                NodeProblem(what=f"endpoint {name} ({place.at}): {found.words}"[:500], fix=found.fix)
            )
    return tuple(reported)


def _where(place: EndpointAddress) -> str:
    return "endpoints.json of the node" if place.name else "models.machines (PANCODE_LOCAL_MACHINES)"
