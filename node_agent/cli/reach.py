"""Checks whether this node reaches Redis and the depot, and explains each failure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from node_agent.link.client import Access, connect, format_error
from node_agent.machine.home import End, LinkEnds, NodeHome, SettingsError, current_link, ends_of
from node_agent.wire.clock import Clock
from node_agent.workspace.depot import Address, DepotAccess, hang_up
from node_agent.workspace.git import DepotUnavailable

PATIENCE_S = 8.0


@dataclass(frozen=True, slots=True)
class Reached:
    """The problem with Redis and the depot each, as text; empty: no problem."""

    redis: str
    depot: str
    wall_ms: int
    """The time by this machine's clock, to explain certificates that are not valid now."""

    def text(self) -> str:
        shape = {"redis": self.redis, "depot": self.depot, "wall_ms": self.wall_ms}
        return json.dumps(shape, sort_keys=True)

    @property
    def ok(self) -> bool:
        return not self.redis and not self.depot


def try_link(home: NodeHome, offered: str | None, clock: Clock, patience_s: float = PATIENCE_S) -> Reached:
    """Try the link in the text `offered` or, if it is None, the present link. Raises SettingsError."""
    settings = home.read_settings()
    ends = _read_ends(home, offered)
    password = home.redis_password(settings)
    redis = Access(ends.redis, settings.redis.user, lambda: password, patience_s, patience_s)
    return Reached(_reach_redis(redis), _reach_depot(ends.depot, patience_s), clock.wall_ms())


def _read_ends(home: NodeHome, offered: str | None) -> LinkEnds:
    if offered is None:
        found = current_link(home.links)
        if found is None:
            raise SettingsError(f"{home.links} contains no link; run on the coordinator: pancode fleet up")
        return found
    try:
        return ends_of(offered, home.key.parent)
    except ValueError as exc:
        raise SettingsError(f"the offered link is not valid: {exc}") from exc


def _reach_redis(access: Access) -> str:
    client = connect(access)
    try:
        client.ping()
    except RedisError as exc:
        return format_error(exc)
    finally:
        client.connection_pool.disconnect()
    return ""


def _reach_depot(end: End, patience_s: float) -> str:
    address: Address = Path(end) if isinstance(end, str) else end
    try:
        peer, _ = DepotAccess(lambda: address, lambda *_: b"", patience_s).greet()
    except DepotUnavailable as exc:
        return str(exc)
    hang_up(peer)
    return ""
