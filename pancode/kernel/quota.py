"""Decides whether a node stores or sends too much in Redis, and when to measure what it stores."""

from __future__ import annotations

from dataclasses import dataclass

from pancode.kernel.formatting import count_noun


@dataclass(frozen=True, slots=True)
class RedisUsage:
    """One node's use of Redis: the keys that the node may write, and its connections."""

    size: int = 0
    keys: int = 0
    connected: int = 0
    """The part of `size` that is used by buffers and names of the node's connections, in bytes."""


NOTHING = RedisUsage()


def worth_weighing(used: int, seen: int, quota: int) -> bool:
    """Whether to measure Redis, which reads every key: if the server uses at least one node's quota, and its
    use has grown by a quarter of a quota since the last measurement (`seen`)."""
    return used >= quota and used - seen >= quota // 4


@dataclass(frozen=True, slots=True)
class ForeignReceipts:
    """The number and bytes of receipts that a node sent in a day and that settled no lease of this fleet."""

    receipts: int = 1_000
    size: int = 64 * 2**20


def too_much_evidence(sent: ForeignReceipts, share: ForeignReceipts) -> str:
    """Return text if the node sent too many receipts that settle nothing, else an empty text."""
    if sent.receipts <= share.receipts and sent.size <= share.size:
        return ""
    size = f"{count_noun(sent.receipts, 'receipt')} of {_format_mib(sent.size)}"
    most = f"{share.receipts} of {_format_mib(share.size)} (nodes.evidence_receipts, nodes.evidence_size)"
    return f"the node sent {size} in a day that settle nothing, and may send {most}"


PASS_MESSAGES, PASS_SIZE = 64, 128 * 2**10
"""The most messages and bytes that one pass takes from one node; the rest waits in the node's stream. At
least one message is taken."""
FLOOD_MS, CALM_MS = 10_000, 3_000


def is_full(messages: int, size: int) -> bool:
    """Whether a pass has taken as many messages and bytes from a node as it may."""
    return messages >= PASS_MESSAGES or size >= PASS_SIZE


@dataclass(frozen=True, slots=True)
class Flood:
    """How long a node has sent as much as a pass takes from it, by the coordinator's boot clock."""

    since_ms: int
    last_ms: int

    def goes_on(self, boot_ms: int) -> Flood:
        """Return the flood after one more full pass; after a longer pause, a new flood begins."""
        return Flood(self.since_ms if boot_ms - self.last_ms <= CALM_MS else boot_ms, boot_ms)

    def problem(self, name: str, boot_ms: int) -> list[dict[str, str]]:
        """Return the problem to show; an empty list until the flood has lasted a while, and after its end."""
        if self.last_ms - self.since_ms < FLOOD_MS or boot_ms - self.last_ms > CALM_MS:
            return []
        lasted = count_noun((self.last_ms - self.since_ms) // 1_000, "second")
        what = (
            f"{name} has sent too much for {lasted}: other nodes have priority, and its runs are shown late"
        )
        return [
            {
                "what": what,
                "fix": f"see its runs: pancode runs ls --node {name}; to stop it: pancode fleet down {name}",
            }
        ]


MOST_NAMED = 1_000
"""How many started jobs a node may list beyond its own: some have ended, but are not removed yet."""


def too_many(named: int, given: int) -> str:
    """Return text if the node lists too many started jobs, else an empty text. `given`: its open leases."""
    if named <= given + MOST_NAMED:
        return ""
    return f"the node listed {named} jobs as started in Redis, but was given only {given}"


def too_much(kept: RedisUsage, quota: int, owed: int) -> str:
    """Return text if the node stores too much in Redis, else "". `owed`: bytes of the jobs sent to it."""
    if kept.size <= quota + owed:
        return ""
    keys = count_noun(kept.keys, "key")
    where = f"{keys} and its connections" if kept.connected > kept.size // 2 else keys
    limit = f"may keep {_format_mib(quota)} (nodes.redis_quota)"
    return f"the node stored {_format_mib(kept.size)} in Redis ({where}), and {limit}"


def _format_mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
