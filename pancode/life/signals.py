"""Everything that may happen to a run: the signals that `decide` answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from node_agent.wire.control import Acknowledge
from node_agent.wire.event import EventBody
from node_agent.wire.receipt import Claims
from pancode.core.books import Ceilings
from pancode.core.records import Balance, Fence, StoredReceipt, WaitReason
from pancode.life.values import LandWay
from pancode.life.verified import VerifiedResult
from pancode.nodes.fleet import NodeView


@dataclass(frozen=True, slots=True)
class Purse:
    """One scope of the books as it stands, and its ceilings.

    `held` False: nothing is booked there, as its balance is the sum of others.
    """

    balance: Balance
    ceilings: Ceilings
    held: bool = True


@dataclass(frozen=True, slots=True)
class Admitted:
    """A person's request has passed the gates: the run is new."""

    purses: Sequence[Purse]


@dataclass(frozen=True, slots=True)
class AskedFirst:
    """A person's request has passed the gates, and begins only when a person approves it: the run is new."""


@dataclass(frozen=True, slots=True)
class Due:
    """The run waits, and its time has come: a later attempt takes its own hold."""

    purses: Sequence[Purse]


@dataclass(frozen=True, slots=True)
class Bound:
    """An order was signed for a node."""

    fence: Fence
    why: str
    served: dict[str, object] = field(default_factory=dict)
    """By what its model is served there; empty: not known."""


@dataclass(frozen=True, slots=True)
class Waits:
    """It cannot go on now."""

    on: str
    """placement, budget, depot"""
    why: str
    kind: WaitReason


@dataclass(frozen=True, slots=True)
class Released:
    """Its workflow lets it begin."""


@dataclass(frozen=True, slots=True)
class Unbindable:
    """No order can be made of it."""

    why: str


@dataclass(frozen=True, slots=True)
class NodeReported:
    """An event of the node that has the fence."""

    seq: int
    body: EventBody
    at_ms: int
    """By the node's wall clock."""


@dataclass(frozen=True, slots=True)
class NotTaken:
    """The node's journal, told after start-by, does not name the fence: it will never run there."""


@dataclass(frozen=True, slots=True)
class Doubted:
    """The node's journal does not know any more what the node had accepted."""

    why: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Nothing more is to be expected of the fence."""

    why: str


@dataclass(frozen=True, slots=True)
class NodeSilent:
    """The node that has the fence is not heard (`back`: it is heard again)."""

    back: bool = False


@dataclass(frozen=True, slots=True)
class Quarantined:
    """The node that has the fence was taken out of the fleet's work."""

    why: str


@dataclass(frozen=True, slots=True)
class UnknownFence:
    """A node names a fence of this run that our ledger does not know: the ledger was restored."""

    node: str
    number: int


@dataclass(frozen=True, slots=True)
class Believed:
    """A receipt is true and complete; `stored` is on disk already."""

    node: str
    """Whose key signed it."""
    claims: Claims
    stored: StoredReceipt
    answer: Acknowledge
    nodes: Sequence[NodeView] = ()
    """Of the fleet, where another one might do better."""
    passed_over: Collection[str] = ()
    """Nodes that are not offered this run for a while."""
    output: str = ""
    """The end of what the gates wrote, where one of them failed."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A receipt is rightly signed and false."""

    node: str
    tag: str | None
    """Of the key that signed it."""
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """A person wants it to end."""

    reason: str


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A person has replaced the lost run by another one."""

    by: str


@dataclass(frozen=True, slots=True)
class Continued:
    """A new run goes on from its result. `sole`: it is to be the only one, as with an answer.

    `program`: the one that has answered; empty: a person.
    """

    run: str
    by: str
    sole: bool = False
    program: str = ""


@dataclass(frozen=True, slots=True)
class Declined:
    """A person says no to what the run waits for."""

    by: str


@dataclass(frozen=True, slots=True)
class Unasked:
    """Its workflow has no use for an answer any more."""

    why: str


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """Its workflow goes on, and needs the answer that nobody has given."""


@dataclass(frozen=True, slots=True)
class Approved:
    """A person says yes to a run that waits for that before it begins.

    `whole`: also to the same for its later attempts.
    """

    by: str
    whole: bool
    purses: Sequence[Purse]


@dataclass(frozen=True, slots=True)
class CallDecided:
    """A person answers a call that waits. `whole`: for all that its rule asks about; `number`: as shown."""

    by: str
    allow: bool
    whole: bool = False
    number: int | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class ToldByPerson:
    """A person has words for the run."""

    text: str
    by: str


@dataclass(frozen=True, slots=True)
class Priced:
    """A person says what an attempt of unknown cost has cost."""

    usd: Decimal
    by: str


@dataclass(frozen=True, slots=True)
class CalledOff:
    """A person does not want its change landed any more."""

    why: str


@dataclass(frozen=True, slots=True)
class LandingAsked:
    """A person wants its change landed, in this way."""

    way: LandWay


@dataclass(frozen=True, slots=True)
class LandingDue:
    """Its workflow has ended well, its result has the change, and that is landed by itself."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A person does not want its change."""

    by: str


@dataclass(frozen=True, slots=True)
class LandingOver:
    """The landing that waited in the queue has come to its end."""

    report: Mapping[str, Any]
    """Status, why, fix, files, tree, branch, commit, gate; as far as there are."""
    action: str = ""
    """The action that has asked for it; empty: the one that waits."""
    by: str = ""
    """The person who has asked for it by hand; empty: the dispatch did."""


@dataclass(frozen=True, slots=True)
class Landed:
    """Its change is in its owner's tree."""

    by: str
    commit: str
    files: int
    gates: str
    branch: str = ""
    yes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VerificationAsked:
    """A person wants its result verified. `on`: a node's name, or `other`. `again`: though it is disputed."""

    on: str
    by: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class VerificationBegun:
    """The run that verifies its result on another node is queued."""

    run: str
    on: str


@dataclass(frozen=True, slots=True)
class VerificationOver:
    """The verification has come to its end, or is not possible."""

    seen: VerifiedResult


@dataclass(frozen=True, slots=True)
class Reverted:
    """A later commit of its owner's repository has taken its landed change back."""

    commit: str


Queued = Admitted | AskedFirst | Due | Waits | Released | Bound
FromNode = NodeReported | NotTaken | Doubted | NodeSilent | Quarantined | UnknownFence
Ended = Lost | Stop | GivenUp | Unbindable | Priced
Steered = Approved | AskedAgain | CallDecided | Continued | Declined | ToldByPerson | Unasked
Landing = LandingAsked | LandingDue | Dropped | CalledOff | LandingOver | Landed | Reverted
Verifying = VerificationAsked | VerificationBegun | VerificationOver
Signal = Queued | FromNode | Believed | Rejected | Ended | Steered | Landing | Verifying
