"""Every interval of a node's periodic work in one place, scaled by one factor."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Intervals:
    """The node agent's intervals, all in milliseconds, with their default values."""

    heartbeat_ms: int = 5_000
    poll_ms: int = 1_000
    """How long the node waits for a hint before it checks for work without one, while it has work."""
    idle_poll_ms: int = 6_000
    """The same for a node without work, to which the coordinator's heartbeat is a hint each five seconds."""
    look_ms: int = 1_000
    """The interval for checking a running attempt; an interactive run is also checked when it writes."""
    progress_ms: int = 2_000
    """The minimum time between two progress events of one attempt."""
    signs_ms: int = 30_000
    """The interval for checking the signs of life of a running agent."""
    follow_ms: int = 1_000
    """The interval for sending a running attempt's output to the depot; text for a user is sent at once."""
    retry_ms: int = 2_000
    """The pause after the link is down, the disk is full, or an internal error."""
    publish_first_ms: int = 5_000
    publish_most_ms: int = 60_000
    """A receipt is sent again after the first interval, then after twice that, up to the second one. The same
    applies to an output that the depot refused, starting with `retry_ms`."""
    resend_ms: int = 10_000
    """The time after which an event is sent again if the coordinator's cursor does not cover it."""
    facts_ms: int = 30_000
    """The interval for checking the node's load and facts."""
    tighten_ms: int = 60_000
    """After this long under load, a machine runs one attempt less, and one less again after the same time."""
    loosen_ms: int = 180_000
    """After this time without load, a node runs one attempt more."""
    profile_ms: int = 300_000
    """The interval for sending the facts that seldom change, also unchanged: Redis may lose them."""
    inventory_ms: int = 600_000
    prune_ms: int = 3_600_000
    leftovers_ms: int = 60_000
    """The interval for finding processes that have outlived their attempt."""
    grace_int_ms: int = 15_000
    grace_term_ms: int = 15_000

    def scale(self, factor: float) -> Intervals:
        """Return a copy with every interval multiplied by `factor`, at least one millisecond."""
        if factor == 1.0:
            return self
        return Intervals(
            **{field.name: max(1, int(getattr(self, field.name) * factor)) for field in fields(self)}
        )
