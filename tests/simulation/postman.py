"""A bus that delivers genuine jobs again, in every class: late, twice, and to a second place."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random  # noqa: TID251 - seeded, which is the point
from typing import TYPE_CHECKING

from node_agent.wire.identity import AttemptId
from pancode.kernel.ports import Offer
from pancode.kernel.records import Lease

if TYPE_CHECKING:
    from tests.simulation.world import SimWorld

SHARE = 0.08
"""Of the steps in which it does so."""


@dataclass
class Postman:
    """By cards of its own: what else happens under a seed does not depend on them."""

    random: Random
    works: bool = True

    def deliver_again(self, w: SimWorld) -> None:
        """One job that was signed at some time, closed or not; the ledger that signed it may be gone."""
        if not self.works or w.redis.down or self.random.random() >= SHARE:
            return
        with w.coordinator.seen() as tx:
            there = {machine.tag for machine in w.machines}  # who has a new key has another queue
            leases = [lease for lease in tx.find(Lease) if lease.tag in there]
        if not leases:
            return
        lease = self.random.choice(leases)
        identity = AttemptId(run=lease.run, attempt=lease.attempt, lease=lease.lease)
        match self.random.choice(("late", "twice", "elsewhere")):
            case "late":
                offer = Offer(lease.tag, identity, lease.job)
            case "twice":  # a job of its own, which the queue does not take for the first
                again = identity.model_copy(update={"lease": lease.lease + 1_000})
                offer = Offer(lease.tag, again, lease.job)
            case _:
                offer = Offer(self.random.choice(sorted(there)), identity, lease.job)
        w.say(f"a job of {identity} is delivered again to {offer.tag}")
        w.redis.bus().push_jobs([offer])
