"""The page of one machine: how it is reached, its facts, and its problems."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

from pancode.cli.catalog.matrix import is_local_only
from pancode.cli.fleet.fleet import endpoint_words, runtime_words
from pancode.cli.output.render import advice, safe, short_time, size, tone

WIDTH = 13
Row = tuple[str, str]


def page(node: dict[str, Any]) -> str:
    """A line for each thing that is known; what was not heard is left out."""
    rows = [*_state(node), *_reached(node["target"]), *_machine(node), *_offers(node)]
    lines = [f"{name + ':' if name else '':<{WIDTH}} {words}".rstrip() for name, words in rows]
    return "\n".join([*lines, *_problems(node["problems"])]) + "\n"


def _state(node: dict[str, Any]) -> Iterator[Row]:
    yield "Name", safe(node["name"])
    yield "State", f"{tone(node['state'])} since {short_time(node['since'])}"
    for name in ("draining", "paused", "quarantined"):
        if node[name]:
            yield name.capitalize(), _why(node[name])
    yield "Slots", f"{node['slots']['used']} of {node['slots']['total']} in use"
    yield "Labels", ", ".join(f"{safe(k)}={safe(v)}" for k, v in sorted(node["labels"].items())) or "-"
    yield "Added", f"{short_time(node['added_at'])}"
    yield "Tag", f"{node['tag'] or '-'} (its name in Redis)"
    yield "Key", node["public_key"] or "none yet: pancode fleet up"


def _why(given: Any) -> str:
    if not isinstance(given, dict):
        return safe(str(given))
    return ", ".join(f"{safe(str(k))} {safe(str(v))}" for k, v in given.items() if v not in (None, ""))


def _reached(reach: dict[str, Any]) -> Iterator[Row]:
    target = reach.get("target")
    if target is None:
        return
    user, port = (f"{target['user']}@" if target["user"] else ""), target["port"] or 22
    through = [f"{hop['host']}" for hop in target["hops"] if isinstance(hop, dict)]
    through += target.get("proxy", ())[:1]
    way = f"ssh {user}{target['host']}, port {port}" + (f", through {', '.join(through)}" if through else "")
    yield "Reached by", "this machine itself" if reach["local"] else safe(way)
    for place, pins in sorted(reach["pins"].items()):
        yield "Host key", safe(f"{place} {_fingerprint(str(pins))}")
    yield "Home", safe(reach["installed_home"] or "nothing of ours is there yet")
    yield from (("SSH config", safe(str(warning))) for warning in target["warnings"])
    if target["ignored"]:
        yield "SSH config", f"without effect for PanCode: {safe(', '.join(map(str, target['ignored'])))}"


def _fingerprint(line: str) -> str:
    """As `ssh-keygen -lf` and `node add` show it."""
    kind, _, data = line.partition(" ")
    try:
        raw = base64.b64decode(data.split()[0], validate=True)
    except (ValueError, IndexError):
        return line
    return f"{kind} SHA256:{base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip('=')}"


def _machine(node: dict[str, Any]) -> Iterator[Row]:
    facts = node["facts"]
    if facts is None:
        yield "Machine", "not heard yet"
        return
    yield "Host name", safe(facts["hostname"])
    yield "System", safe(f"{facts['os']}, {facts['arch']}, Python {facts['python']}")
    load = f"{facts['cpus']} processors, load {facts['load_1m']:.1f}"
    yield "Machine", f"{load}, {size(facts['memory'])} memory, {size(facts['disk_free'])} of disk free"
    skew = node["clock_skew_s"]
    yield "Clock", "-" if skew is None else f"{skew:+.1f} s off ours"
    yield "Node agent", safe(node["version"] or "-")
    yield "Isolation", safe(facts["isolation"])
    yield "Allows", _allowed(facts["allows"])


def _allowed(allows: dict[str, Any]) -> str:
    if allows["closed"]:
        return safe(f"nothing: {allows['closed']}")
    parts = [f"up to {allows['safety']}"]
    parts += [f"{what} {', '.join(allows[what])}" for what in ("repositories", "runtimes") if allows[what]]
    return safe("; ".join(parts))


def _offers(node: dict[str, Any]) -> Iterator[Row]:
    there = [one for one in node["runtimes"] if one["state"] != "missing"]
    for name, one in zip(["Runtimes", *[""] * len(there)], there, strict=False):
        yield name, safe(runtime_words(one))
    missing = [one["name"] for one in node["runtimes"] if one["state"] == "missing"]
    if missing:
        yield "Not there", f"{safe(', '.join(missing))} (pancode runtimes shows how to install them)"
    told = {one.get("says") for one in node["problems"]}
    for one in there:
        if one["state"] == "not_logged_in" and one["says"] not in told and not is_local_only(one):
            yield "Not ready", safe(f"{one['name']}: {one['says']}")
    for one in node["endpoints"]:
        yield "Endpoint", safe(endpoint_words(one))


def _problems(problems: list[dict[str, Any]]) -> Iterator[str]:
    if problems:
        yield "Problems:"
    for one in problems:
        yield f"  {safe(one['what'])}"
        if hint := advice(one):
            yield f"    {hint}"
