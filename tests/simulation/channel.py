"""What becomes of messages on their way: lost, doubled, late, before their elders; and what an enemy adds."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random  # noqa: TID251 - seeded, which is the point

from tests.fakes.bus import MemoryRedis

Message = tuple[str, str, bytes]


@dataclass
class Channel:
    """`carry` of a MemoryRedis. `chaos`: share of messages to which something happens."""

    random: Random
    chaos: float = 0.0
    held: list[Message] = field(default_factory=list)
    seen: list[Message] = field(default_factory=list)
    """Every message that an honest side has sent: what an enemy may replay."""
    heartbeats: dict[str, list[bytes]] = field(default_factory=dict)
    lies: set[bytes] = field(default_factory=set)
    """Heartbeats that no honest side has written."""

    def carry(self, stream: str, tag: str, data: bytes) -> tuple[bytes, ...]:
        """What arrives instead of one message."""
        self.seen.append((stream, tag, data))
        late = [d for s, t, d in self.held if (s, t) == (stream, tag)]
        self.held = [h for h in self.held if (h[0], h[1]) != (stream, tag)]
        if not self.chaos or self.random.random() >= self.chaos:
            return (data, *late)
        match self.random.choice(("lost", "twice", "late", "old first")):
            case "lost":
                return tuple(late)
            case "twice":
                return (data, data, *late)
            case "late":
                self.held.append((stream, tag, data))
                return tuple(late)
            case _:
                return (*late, data)

    def note_heartbeats(self, redis: MemoryRedis) -> None:
        for tag, data in redis.store.heartbeats.items():
            kept = self.heartbeats.setdefault(tag, [])
            if data not in self.lies and (not kept or kept[-1] != data):
                kept.append(data)

    def inject(self, redis: MemoryRedis, stream: str, tag: str, data: bytes) -> None:
        """Put there by somebody who can write to Redis; nothing happens to it on the way."""
        redis.carry = None
        redis.append(stream, tag, data)
        redis.carry = self.carry
