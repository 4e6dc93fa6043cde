"""The states and kinds that rows of the ledger may have."""

from __future__ import annotations

from enum import StrEnum


class LandRule(StrEnum):
    """Which results are landed without a person's `pancode land`."""

    ASK = "ask"
    """Those of a dispatch, workflow or schedule that has asked for it: --land."""
    NEVER = "never"
    WHEN_VERIFIED = "when-verified"
    """Those, and each result whose gates have passed; where `dispatch.verify_on` says so, on two nodes."""


class RunState(StrEnum):
    """Life of a run; `ended` has an outcome and is left by `lost` only."""

    PENDING = "pending"
    RUNNING = "running"
    INTERRUPTING = "interrupting"
    COLLECTING = "collecting"
    ENDED = "ended"


class FenceState(StrEnum):
    """Life of one binding."""

    OFFERED = "offered"
    ACCEPTED = "accepted"
    RUNNING = "running"
    CLOSED = "closed"


class Closed(StrEnum):
    """The end of a fence: by the node's own signed word, or given up as lost."""

    RECEIPT = "receipt"
    REFUSED = "refused"
    REVOKED = "revoked"
    NOT_NOW = "not_now"
    """Refused for a state that its node is in: a wait, not a failure."""
    NEVER_ACCEPTED = "never_accepted"
    LOST = "lost"


class WaitReason(StrEnum):
    """The reason why a run does not go on now; `reason` has the words for people."""

    QUEUED = "queued"
    NO_NODE = "no_node"
    NO_SLOT = "no_slot"
    NODE_AWAY = "node_away"
    PAUSED = "paused"
    QUARANTINED = "quarantined"
    BUDGET = "budget"
    RETRY = "retry"
    RETURNED = "returned"
    HANDED = "handed"
    """Its order waits on a node, which begins it when a slot is free."""
    OLDER_ATTEMPT = "older_attempt"
    DEPOT = "depot"
    FORGOTTEN = "forgotten"
    WORKFLOW = "workflow"
    PERSON = "person"
    """It begins when a person has approved it."""


class EntryKind(StrEnum):
    """A line in the books. hold +held; release -held; spend +spent; correct ±spent; unknown: hold stands.

    disputed ±claimed: beyond its order's limit, and outside of every ceiling until a person has looked.
    """

    HOLD = "hold"
    RELEASE = "release"
    SPEND = "spend"
    CORRECT = "correct"
    UNKNOWN = "unknown"
    DISPUTED = "disputed"


class ActionKind(StrEnum):
    """A kind of follow-on action of an ended run."""

    LAND = "land"
    PERSON = "person"
    """Nothing follows by itself: a person answers, approves or denies."""
    ADVANCE = "advance"
    """Of a workflow."""
    GO_ON = "go_on"
    """The next sitting of a session begins, with words that the one before did not get to."""
    VERIFY = "verify"
    """Another node runs the gates on the result."""
    FLEET = "fleet"
    """An orchestrator that works has asked for a tool of the fleet."""
    TELL = "tell"
    """The session of an orchestrator is to hear what became of runs that it began; one for each session."""


class WorkflowKind(StrEnum):
    """The verb that has written a workflow; all are advanced by the same rules."""

    BATCH = "batch"
    CHAIN = "chain"
    RACE = "race"
    GRAPH = "graph"
    LANE = "lane"
    """It stays open: its items begin one at a time, and more may be added."""


class WorkflowState(StrEnum):
    """Life of a workflow; the last four are ends."""

    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    PARTIAL = "partial"
    """Of a batch: some tasks are done, others are not."""
    FAILED = "failed"
    STOPPED = "stopped"


class WorkflowStepState(StrEnum):
    """Life of a step of a workflow; the last five are ends."""

    WAITING = "waiting"
    """For the steps that it needs, or for its turn."""
    STARTING = "starting"
    """It has the id of its run; the run itself may not be there yet."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    """Its dispatch did not pass admission."""
    SKIPPED = "skipped"
    """It never began: a step that it needs did not end well, or nothing more was to begin."""
    STOPPED = "stopped"

    @property
    def is_over(self) -> bool:
        """Whether a step in this state has come to its end."""
        return self not in (self.WAITING, self.STARTING, self.RUNNING)


class EventKind(StrEnum):
    """The kind of an event of the feed."""

    RUN_QUEUED = "run.queued"
    RUN_WAITS = "run.waits"
    RUN_PLACED = "run.placed"
    RUN_STAGE = "run.stage"
    RUN_USAGE = "run.usage"
    RUN_STOPPING = "run.stopping"
    RUN_RETRY = "run.retry"
    RUN_ENDED = "run.ended"
    RUN_LANDING = "run.landing"
    RUN_VERIFIED = "run.verified"
    RUN_TURN = "run.turn"
    RUN_HEALTH = "run.health"
    INBOX_ITEM = "inbox.item"
    INBOX_ANSWERED = "inbox.answered"
    WORKFLOW_STARTED = "workflow.started"
    WORKFLOW_STEP = "workflow.step"
    WORKFLOW_ENDED = "workflow.ended"
    NODE_STATE = "node.state"
    FLEET_PAUSED = "fleet.paused"
    BUDGET_ALERT = "budget.alert"
    SCHEDULE_FIRED = "schedule.fired"
    AUDIT = "audit"


class SessionState(StrEnum):
    """What a session does now, in the words of its faces."""

    WAITS_FOR_SLOT = "waits for a slot"
    STARTS = "starts"
    WORKS = "works"
    ASKS = "asks"
    """A question waits for a person's answer."""
    WAITS_FOR_YOU = "waits for you"
    """Its program is there, and has answered everything."""
    RESTS = "rests"
    """No program, no slot: the next words begin the next sitting."""
    TURN_LOST = "turn lost"
    """Its program ended in the middle of a turn: a person decides whether to say it again."""
    ENDED = "ended"
    """A person has ended it, or it is a run without turns."""
