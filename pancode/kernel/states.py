"""The states and kinds that rows of the ledger may have."""

from __future__ import annotations

from enum import StrEnum


class LandRule(StrEnum):
    """Which results are landed without a user's `pancode land`."""

    ASK = "ask"
    """Only results of a dispatch, workflow or schedule with --land."""
    NEVER = "never"
    WHEN_VERIFIED = "when-verified"
    """Also each result whose gates have passed; on two nodes, where `dispatch.verify_on` says so."""


class GpuRule(StrEnum):
    """Which runs get the GPUs of a node."""

    ALL = "all"
    """Every run gets those that no other run holds."""
    ASKED = "asked"
    """Only runs that ask for one."""
    NONE = "none"


class RunState(StrEnum):
    """The states of a run; `ended` has an outcome, and only a run with the outcome `lost` can leave it."""

    PENDING = "pending"
    RUNNING = "running"
    INTERRUPTING = "interrupting"
    COLLECTING = "collecting"
    ENDED = "ended"


class LeaseState(StrEnum):
    """The states of one lease."""

    OFFERED = "offered"
    ACCEPTED = "accepted"
    RUNNING = "running"
    CLOSED = "closed"


class Closed(StrEnum):
    """The end of a lease: by the node's own signed word, or given up as lost."""

    RECEIPT = "receipt"
    REFUSED = "refused"
    REVOKED = "revoked"
    NOT_NOW = "not_now"
    """The node refused the job for a state that it is in: a wait, not a failure."""
    NEVER_ACCEPTED = "never_accepted"
    LOST = "lost"


class WaitReason(StrEnum):
    """Why a run does not continue now; the run's `reason` has the words for users."""

    QUEUED = "queued"
    NO_NODE = "no_node"
    NO_SLOT = "no_slot"
    NO_GPU = "no_gpu"
    NODE_AWAY = "node_away"
    PAUSED = "paused"
    QUARANTINED = "quarantined"
    BUDGET = "budget"
    RETRY = "retry"
    RETURNED = "returned"
    HANDED = "handed"
    """The run's job waits on a node, which begins it when a slot is free."""
    OLDER_ATTEMPT = "older_attempt"
    DEPOT = "depot"
    FORGOTTEN = "forgotten"
    WORKFLOW = "workflow"
    USER = "person"
    """The run begins when a user has approved it."""


class EntryKind(StrEnum):
    """The kind of an entry in the books. hold +held; release -held; spend +spent; correct ±spent; unknown:
    the hold stands.

    disputed ±claimed: beyond its job's limit, and outside of every ceiling until a user decides.
    """

    RESERVE = "hold"
    RELEASE = "release"
    SPEND = "spend"
    CORRECT = "correct"
    UNKNOWN = "unknown"
    DISPUTED = "disputed"


class ActionKind(StrEnum):
    """The kind of an action that follows from a run."""

    LAND = "land"
    USER = "person"
    """A user must answer, approve or deny; nothing follows by itself."""
    ADVANCE = "advance"
    """The run's workflow is looked at."""
    GO_ON = "go_on"
    """The next interactive run of a session begins, with words that the last one did not get to."""
    VERIFY = "verify"
    """Another node runs the gates on the result."""
    FLEET = "fleet"
    """A tool of the fleet is called, as an orchestrator at work has asked."""
    TELL = "tell"
    """An orchestrator's session is told what became of runs that it began; one action for each session."""


class WorkflowKind(StrEnum):
    """The verb that made a workflow; all kinds are advanced by the same rules."""

    BATCH = "batch"
    CHAIN = "chain"
    RACE = "race"
    GRAPH = "graph"
    LANE = "lane"
    """The workflow stays open: its items begin one at a time, and more may be added."""


class WorkflowState(StrEnum):
    """The states of a workflow; the last four are ends."""

    RUNNING = "running"
    STOPPING = "stopping"
    DONE = "done"
    PARTIAL = "partial"
    """Some tasks of a batch are done, others are not."""
    FAILED = "failed"
    STOPPED = "stopped"


class WorkflowStepState(StrEnum):
    """The states of a workflow's step; the last five are ends."""

    WAITING = "waiting"
    """The step waits for steps that it needs, or for its turn."""
    STARTING = "starting"
    """The step has the id of its run, which may not exist yet."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    """The step's dispatch did not pass admission."""
    SKIPPED = "skipped"
    """The step never began: one that it needs did not end well, or nothing more was to begin."""
    STOPPED = "stopped"

    @property
    def is_over(self) -> bool:
        """Whether this state is an end."""
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
    """What a session does now, in the words that the interfaces show."""

    WAITS_FOR_SLOT = "waits for a slot"
    STARTS = "starts"
    WORKS = "works"
    ASKS = "asks"
    """The session asks a question, which waits for a user's answer."""
    WAITS_FOR_YOU = "waits for you"
    """The session's program is running, and has answered everything."""
    SUSPENDED = "rests"
    """No program runs and no slot is held: the next message begins the next interactive run."""
    TURN_LOST = "turn lost"
    """The session's program ended within a turn: a user decides whether the words are said again."""
    ENDED = "ended"
    """A user has ended the session, or it is a run without turns."""


class How(StrEnum):
    """How a change becomes commits on a branch."""

    SQUASH = "squash"
    """One commit with the whole change."""
    MERGE = "merge"
    """The run's own commits, and a merge commit that joins them to the branch."""
    REBASE = "rebase"
    """The run's own commits, one after the other on the tip of the branch."""
