"""Everything that may happen to a run: the signals that `decide` answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from node_agent.wire.control import Acknowledge
from node_agent.wire.event import EventBody
from node_agent.wire.receipt import Claims
from pancode.budget.books import Ceilings
from pancode.kernel.node import NodeView
from pancode.kernel.records import Balance, Fence, StoredReceipt, WaitReason
from pancode.landing.model import LandWay
from pancode.runs.life.continuations import SittingTerms
from pancode.runs.receipts.trust import VerifiedResult


@dataclass(frozen=True, slots=True)
class Purse:
    """One scope of the books with its balance and its ceilings.

    `held` False: nothing is booked in it, because its balance is the sum of other scopes.
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
    """A person's request has passed the gates, and the new run begins only when a person approves it."""


@dataclass(frozen=True, slots=True)
class Due:
    """The waiting run's time has come: a later attempt takes its own hold."""

    purses: Sequence[Purse]


@dataclass(frozen=True, slots=True)
class Bound:
    """An order was signed for a node."""

    fence: Fence
    why: str
    served: dict[str, object] = field(default_factory=dict)
    """The model server on that node, as it was reported; empty: not known."""
    most_usd: Decimal | None = None
    """The most USD that a run handed over ahead holds from now on; None: what it holds already."""
    gpus: tuple[str, ...] = ()
    """The GPUs of the node that the run holds alone, by UUID."""


@dataclass(frozen=True, slots=True)
class Waits:
    """The run cannot go on now."""

    on: str
    """What the run waits on: placement, budget, depot."""
    why: str
    kind: WaitReason


@dataclass(frozen=True, slots=True)
class Released:
    """The workflow lets the run begin."""


@dataclass(frozen=True, slots=True)
class Unbindable:
    """No order can be made for the run."""

    why: str


@dataclass(frozen=True, slots=True)
class NodeReported:
    """An event of the node that has the fence."""

    seq: int
    body: EventBody
    at_ms: int
    """When the event happened, by the node's wall clock."""


@dataclass(frozen=True, slots=True)
class NotTaken:
    """The node's journal, reported after start-by, does not name the fence: it will never run there."""


@dataclass(frozen=True, slots=True)
class Doubted:
    """The node's journal no longer knows an order that the node had accepted."""

    why: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The fence is given up: nothing more is expected from its node."""

    why: str


@dataclass(frozen=True, slots=True)
class NodeSilent:
    """The fence's node is not heard (`back`: it is heard again)."""

    back: bool = False


@dataclass(frozen=True, slots=True)
class Quarantined:
    """The fence's node was taken out of the fleet's work."""

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
    """The name of the node whose key signed the receipt."""
    claims: Claims
    stored: StoredReceipt
    answer: Acknowledge
    nodes: Sequence[NodeView] = ()
    """The nodes of the fleet, if the decision about a retry needs them; else empty."""
    passed_over: Collection[str] = ()
    """The nodes that are not offered this run for a while."""
    output: str = ""
    """The end of the gates' output, if a gate failed."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A receipt has a valid signature and false claims."""

    node: str
    tag: str | None
    """The tag of the key that signed it."""
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """A person wants the run to end."""

    reason: str


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A person has replaced the lost run by another one."""

    by: str


@dataclass(frozen=True, slots=True)
class Continued:
    """A new run goes on from this run's result. `sole`: only one may, as with an answer.

    `program`: the program that answered; empty: a person did. `past_cap`: a person has said yes to going on
    beyond the cap.
    """

    run: str
    by: str
    sole: bool = False
    program: str = ""
    past_cap: bool = False


@dataclass(frozen=True, slots=True)
class Declined:
    """A person says no to the item that the run waits for."""

    by: str


@dataclass(frozen=True, slots=True)
class Unasked:
    """The workflow needs no answer any more."""

    why: str


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """The workflow goes on, and still needs the answer that nobody has given."""


@dataclass(frozen=True, slots=True)
class Approved:
    """A person approves a run before it begins. `whole`: its later attempts too."""

    by: str
    whole: bool
    purses: Sequence[Purse]


@dataclass(frozen=True, slots=True)
class CallDecided:
    """A person answers a waiting call. `whole`: also every call of its rule; `number`: as in the inbox."""

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
class ToldByFleet:
    """The orchestrator's session, which waits for words or rests, is told what became of the runs that it
    began.
    """

    text: str


@dataclass(frozen=True, slots=True)
class ToldByTracker:
    """The issue that the run works on has changed. The text's first line names the issue, and it holds the
    issue's words as material.
    """

    text: str


@dataclass(frozen=True, slots=True)
class TurnAsked:
    """A person wants the turn at work cancelled, or the sitting to rest after it.

    `turn`: the number of the turn that the person saw; None: the one at work.
    """

    what: Literal["cancel", "rest"]
    by: str
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class LeftWorkspace:
    """A person leaves the workspace that this run at work has kept open."""

    by: str


@dataclass(frozen=True, slots=True)
class GivesWay:
    """The sitting, which waits for words, gives its slot to this run."""

    run: str


@dataclass(frozen=True, slots=True)
class TermsAsked:
    """A person gives the session other terms, which hold from its next sitting on."""

    terms: SittingTerms
    by: str


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """A person ends the session whose newest run this is."""

    by: str


@dataclass(frozen=True, slots=True)
class FleetAnswered:
    """A call of an orchestrator was carried out, or refused. `action`: the action of that call."""

    action: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class LandingProposed:
    """An orchestrator proposes to land the change, so a person is asked."""

    by: str


@dataclass(frozen=True, slots=True)
class Priced:
    """A person sets the cost of an attempt whose cost is unknown."""

    usd: Decimal
    by: str


@dataclass(frozen=True, slots=True)
class CalledOff:
    """A person does not want the change landed any more."""

    why: str


@dataclass(frozen=True, slots=True)
class LandingAsked:
    """A person wants the change landed in this way."""

    way: LandWay


@dataclass(frozen=True, slots=True)
class LandingDue:
    """The workflow has ended well, and the change in the run's result lands by itself."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A person does not want the change."""

    by: str


@dataclass(frozen=True, slots=True)
class LandingWrites:
    """The landing of this action is about to be written; `report`: how it ends then."""

    report: Mapping[str, Any]
    action: str


@dataclass(frozen=True, slots=True)
class LandingOver:
    """The landing in the queue has ended."""

    report: Mapping[str, Any]
    """The landing's status, why, fix, files, tree, branch, commit and gate, as far as they are known."""
    action: str = ""
    """The action that asked for the landing; empty: the landing that waits."""
    by: str = ""
    """The person who asked for the landing by hand; empty: the dispatch asked."""


@dataclass(frozen=True, slots=True)
class Landed:
    """The change is in its owner's files."""

    by: str
    commit: str
    files: int
    gates: str
    branch: str = ""
    yes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VerificationAsked:
    """A person wants the result verified. `on`: a node's name, or `other`. `again`: even if disputed."""

    on: str
    by: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class VerificationBegun:
    """The run that verifies the result on another node is queued."""

    run: str
    on: str


@dataclass(frozen=True, slots=True)
class VerificationOver:
    """The verification has ended, or is not possible."""

    seen: VerifiedResult


@dataclass(frozen=True, slots=True)
class Reverted:
    """A later commit of the owner's repository has reverted the landed change."""

    commit: str


Queued = Admitted | AskedFirst | Due | Waits | Released | Bound
FromNode = NodeReported | NotTaken | Doubted | NodeSilent | Quarantined | UnknownFence
Ended = Lost | Stop | GivenUp | Unbindable | Priced
Told = ToldByPerson | ToldByFleet | ToldByTracker
Spoken = SessionClosed | TermsAsked | Told | TurnAsked | GivesWay | FleetAnswered
Steered = Approved | AskedAgain | CallDecided | Continued | Declined | LeftWorkspace | Spoken | Unasked
QueuedLanding = LandingAsked | LandingProposed | LandingDue | LandingWrites | LandingOver
Landing = QueuedLanding | Dropped | CalledOff | Landed | Reverted
Verifying = VerificationAsked | VerificationBegun | VerificationOver
Signal = Queued | FromNode | Believed | Rejected | Ended | Steered | Landing | Verifying
