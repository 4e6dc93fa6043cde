"""The use of a session's context window by category, such as prompt, project rules and conversation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from node_agent.wire.identity import AttemptId
from pancode.agents.endpoints import OWN_TOKENS, endpoint_of, fleets_model
from pancode.agents.prompts import Category, estimate_tokens, sizes_of, window_of
from pancode.agents.runtimes import OUR_OWN, RUNTIMES
from pancode.conversation.answers import ContextShape, WindowPart
from pancode.kernel.errors import ConfigError, UsageError
from pancode.kernel.records import Lease, Run
from pancode.runs.core import Core
from pancode.runs.facts import FleetLead
from pancode.runs.log import OUT
from pancode.runs.user_environment import Streams, Surroundings
from pancode.sessions.session import load_chain

HEAD, TAIL = 64 << 10, 1 << 20
"""How many bytes of the output are read: the window's size is at its beginning, the newest calls at its
end."""
CATEGORIES: Mapping[str, tuple[Category, ...]] = {
    "identity": (Category.IDENTITY, Category.CONSTITUTION),
    "mode": (Category.MODE,),
    "safety": (Category.SAFETY, Category.RULES),
    "tools": (Category.TOOLS,),
    "history": (Category.CONTEXT,),
    "report": (Category.REPORT,),
}
"""The categories of a prompt's parts, by the name that users see."""


@dataclass(frozen=True, slots=True)
class ToldWindow:
    """Window facts from the output of PanCode's own worker; None: missing, or another program wrote it."""

    window: int | None = None
    used: int | None = None
    compacted: str = ""


def get_context(core: Core, around: Surroundings, streams: Streams, text: str) -> ContextShape:
    """Return the context window of a session's newest run. UsageError for a program without a model."""
    with core.ports.ledger.transaction() as tx:
        session = load_chain(tx, text)
        nodes = core.views(tx)
    run = session.newest
    if RUNTIMES[run.runtime].own:
        what = f"{run.id} has no context window: it runs {run.runtime}"
        raise UsageError(what, fix="pancode runs", code="no_model")
    messages = _read_told(run, session.lease, streams)
    ref = None if run.model is None else fleets_model(run.model, nodes)
    window = messages.window or window_of(ref, endpoint_of(ref, nodes), nodes)
    offered = [core.fleet_tools[name] for name in FleetLead.of(run).fleet if name in core.fleet_tools]
    tools = sum(len(one.name) + len(one.description) + len(one.parameters) for one in offered)
    parts = window_parts(run, _measure_guide(run, around), tools, messages.used)
    left = None if window is None or messages.used is None else max(0, window - messages.used)
    return {
        "session": session.id,
        "run": run.id,
        "runtime": run.runtime,
        "model": run.model,
        "window": window,
        "used": messages.used,
        "left": left,
        "parts": parts,
        "compacted": messages.compacted,
    }


def window_parts(run: Run, guide: int | None, tools: int, used: int | None) -> list[WindowPart]:
    """Return the tokens by category, in the window's order. `guide`: characters of AGENTS.md; `tools`:
    characters of the fleet's tools, sent with each model call; `used`: tokens in total."""
    sizes = sizes_of(run.prompt)
    sizes[Category.TOOLS] = sizes.get(Category.TOOLS, 0) + tools
    parts: dict[str, int | None] = {"program": OWN_TOKENS.get(run.runtime)}
    for name, categories in CATEGORIES.items():
        parts[name] = estimate_tokens(sum(sizes.get(one, 0) for one in categories))
    parts["project rules"] = None if guide is None else estimate_tokens(guide)
    known = sum(tokens for tokens in parts.values() if tokens is not None)
    parts["turns"] = None if used is None else max(0, used - known)
    return [{"name": name, "tokens": tokens} for name, tokens in parts.items()]


def _measure_guide(run: Run, around: Surroundings) -> int | None:
    """Return the current size of the project's AGENTS.md in characters; None if it cannot be read."""
    if run.project is None or run.workspace.get("kind") != "git":
        return 0
    try:
        return around.project(run.project).guide_chars
    except ConfigError:
        return None


def _read_told(run: Run, lease: Lease | None, streams: Streams) -> ToldWindow:
    if run.runtime != OUR_OWN or lease is None:
        return ToldWindow()
    identity = AttemptId(run=run.id, attempt=lease.attempt, lease=lease.lease)
    size = streams.size(identity, OUT)
    if not size:
        return ToldWindow()
    head = streams.read(identity, OUT, 0, HEAD)
    tail = head if size <= HEAD else streams.read(identity, OUT, max(0, size - TAIL), TAIL)
    begun = next((one for one in _yield_events(head) if one.get("type") == "session"), {})
    return read_window(begun, list(_yield_events(tail)), whole=size <= max(HEAD, TAIL))


def read_window(begun: Mapping[str, Any], newest: list[dict[str, Any]], whole: bool) -> ToldWindow:
    """Return the window's facts from a worker's first event and its newest ones. `whole`: `newest` has all
    events. Counts are cumulative, so the last call is the difference of the last two counts."""
    window = _count(begun.get("context")) if begun.get("context_known") is True else None
    counts = [one for one in newest if one.get("type") == "usage"]
    shortened = [str(one.get("text", "")) for one in newest if one.get("type") == "compacted"]
    used = None
    if counts and counts[-1].get("told") is True and (whole or len(counts) > 1):
        used = _sum_tokens(counts[-1]) - (_sum_tokens(counts[-2]) if len(counts) > 1 else 0)
    return ToldWindow(window or None, used, shortened[-1] if shortened else "")


def _sum_tokens(counts: Mapping[str, Any]) -> int:
    return sum(_count(counts.get(name)) for name in ("input", "cached", "output"))


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0


def _yield_events(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the events of complete lines; the first and the last line may be cut off."""
    for line in data.split(b"\n"):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found
