"""Any value that the wire takes, as one node's word: only what decides whose word it is stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from node_agent.wire.event import Events
from node_agent.wire.identity import AttemptId
from node_agent.wire.node import Heartbeat, Inventory
from node_agent.wire.receipt import Receipt
from node_agent.wire.signing import Signed
from pancode.app.http_routes import VERBS
from tests.unit.node_agent.wire.anyvalue import AnyValue

SAID = (Receipt, Events, Heartbeat, Inventory)


def word(kind: type[Signed], seed: int, ours: Mapping[str, Any]) -> dict[str, Any]:
    """A message in which `ours` are as they are said here, and all else has any value."""
    made = {**AnyValue(kind, seed).make(), **dict([kind.VERSION])}
    return {**made, **{name: value for name, value in ours.items() if name in made}}


def events(seed: int, ours: Mapping[str, Any], identity: AttemptId, after: int) -> dict[str, Any]:
    """Of that attempt, as those that come after number `after`."""
    told = word(Events, seed, ours)
    for number, event in enumerate(told["events"], after + 1):
        event |= {"identity": identity.model_dump(), "seq": number}
    return told


def receipt(seed: int, ordered: Mapping[str, Any]) -> dict[str, Any]:
    """`ordered`: the claims that would be rejected if they were others; none of them names bytes."""
    made = word(Receipt, seed, {})
    claims = {**made["predicate"], **ordered}
    usage = claims["usage"]
    usage["cost_source"] = "unknown" if usage.get("cost_usd") is None else "reported"
    subject = [{"name": one["name"], "digest": {"sha256": one["sha256"]}} for one in claims.get("blobs", ())]
    who = AttemptId.model_validate(claims["identity"])
    alone = {"name": str(who), "digest": {"sha256": claims["order"]}}
    return {**made, "predicate": claims, "subject": subject or [alone]}


def gets(runs: Sequence[str], node: str) -> list[str]:
    """Every route of the API that looks, for each thing that it may be asked about."""
    names = {"run": runs, "node": [node], "agent": ["builder"], "workflow": ["last"]}
    names |= {
        "schedule": ["nightly"],
        "workspace": ["login"],
        "project": ["shop"],
        "issue": ["SHOP-12"],
    }
    names |= {"lane": ["night"], "tool": ["count-words"]}
    words = {"limit": "1000", "stat": "1", "all": "1", "run": runs[0], "node": node}
    paths = []
    for verb in VERBS:
        if verb.method != "GET":
            continue
        asked = re.findall(r"\{(\w+)\}", verb.path)
        assert set(asked) <= names.keys(), f"{verb.path}: say here what {asked} may be"
        for name in names[asked[0]] if asked else [""]:
            path = re.sub(r"\{\w+\}", quote(name), verb.path)
            queries = [f"?{query}={words[query]}" for query in verb.query if query in words]
            paths += [path + query for query in ("", *queries)]
    return paths
