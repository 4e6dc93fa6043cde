"""Decides what one depot stream may do, and builds the environment in which git enforces it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from node_agent.wire.git import snap_ref
from node_agent.wire.identity import AttemptId
from pancode.code.git.safe import safe_env

Verb = Literal["fetch", "push", "log"]
GB = 1 << 30


@dataclass(frozen=True, slots=True)
class Grant:
    """One stream. `repo_id` and the refs count for fetch and push only; `max_bytes` for what the node sends.

    `read_refs` are visible: the run's snapshot, for push too, or every push resends the whole base.
    `write_ref` is the one ref that a push may create.
    """

    verb: Verb
    identity: AttemptId
    repo_id: str = ""
    read_refs: tuple[str, ...] = ()
    write_ref: str | None = None
    max_bytes: int = GB


def grant_for(verb: Verb, identity: AttemptId, repo_id: str | None, max_bytes: int = GB) -> Grant | Refusal:
    """An attempt's rights: read its run's snapshot, write its own ref, add to its own logs."""
    if verb == "log":
        return Grant(verb, identity, max_bytes=max_bytes)
    if repo_id is None:
        return Refusal(f"{identity} has no repository")
    write = identity.ref if verb == "push" else None
    return Grant(verb, identity, repo_id, (snap_ref(identity.run),), write, max_bytes)


@dataclass(frozen=True, slots=True)
class Refusal:
    """No stream; `why` is told to the node. `retry`: the same hello may be granted later."""

    why: str
    retry: bool = False


def serve_env(grant: Grant, hooks: str) -> dict[str, str]:
    """Environment of upload-pack or receive-pack for one grant: nothing on disk that could get stale.

    Protocol v0 only: under v2 every object of the depot can be fetched by its id, hidden or not.
    """
    settings = {
        "core.hooksPath": hooks,
        "core.bigFileThreshold": "1m",
        "uploadpack.allowFilter": "false",
        "uploadpack.keepAlive": "5",
        "uploadpack.allowTipSHA1InWant": "false",
        "uploadpack.allowReachableSHA1InWant": "false",
        "uploadpack.allowAnySHA1InWant": "false",
        "receive.fsckObjects": "true",
        "receive.maxInputSize": str(grant.max_bytes),
        "receive.denyDeletes": "true",
        "receive.denyNonFastForwards": "true",
        "receive.autogc": "false",
        "receive.unpackLimit": "1",
        "receive.keepAlive": "5",
        "receive.advertisePushOptions": "false",
        "receive.advertiseAtomic": "false",
        "receive.certNonceSeed": "",
    }
    key, shown = ("uploadpack.hideRefs", grant.read_refs)
    if grant.verb == "push":
        key, shown = "receive.hideRefs", (*grant.read_refs, *filter(None, (grant.write_ref,)))
    # The later value wins: hide all, then show what was granted.
    hidden = [(key, value) for value in ("refs/", "HEAD", *(f"!{ref}" for ref in shown))]
    return safe_env(settings, hidden) | {"PANCODE_PUSH_REF": grant.write_ref or ""}
