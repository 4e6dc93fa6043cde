"""Defines the states and kinds of the ledger's rows."""

from __future__ import annotations

from enum import StrEnum


class LandRule(StrEnum):
    """Which results land without a user's `pancode land`."""

    ASK = "ask"
    """Only results of a dispatch, workflow or schedule with --land."""
    NEVER = "never"
    WHEN_PASSED = "when-passed"
    """Also each result whose gates have passed."""


class GpuRule(StrEnum):
    """Which runs get the GPUs of a node."""

    ALL = "all"
    """Every run gets the GPUs that no other run has reserved."""
    ASKED = "asked"
    """Only runs that request a GPU get GPUs."""
    NONE = "none"


class RunState(StrEnum):
    """The states of a run; an `ended` run has an outcome, and only the outcome `lost` may still change."""

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
    """How a lease ended: closed by the node's signed message, or given up as lost."""

    RECEIPT = "receipt"
    REFUSED = "refused"
    REVOKED = "revoked"
    NOT_NOW = "not_now"
    """The node refused the job because of its current state: the run waits and has not failed."""
    NEVER_ACCEPTED = "never_accepted"
    LOST = "lost"


class WaitReason(StrEnum):
    """Why a run does not continue now. The run's `reason` contains the text for users."""

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
    """The run's job waits on a node, which starts the job when a slot is free."""
    OLDER_ATTEMPT = "older_attempt"
    DEPOT = "depot"
    FORGOTTEN = "forgotten"
    WORKFLOW = "workflow"
    USER = "person"
    """The run begins when a user has approved it."""
    GATES = "gates"
    """The run begins when its gates have passed on the unchanged tree."""
    RESTORED = "restored"
    """The ledger was restored; the run begins when a user has released it."""

    @property
    def is_held(self) -> bool:
        """Whether the run waits for its workflow, a user or the check of its gates, and not for a node."""
        return self in (self.WORKFLOW, self.USER, self.GATES)


class IdentityVariable(StrEnum):
    """The environment variables from which git reads who the author and committer of a commit are."""

    AUTHOR_NAME = "GIT_AUTHOR_NAME"
    AUTHOR_EMAIL = "GIT_AUTHOR_EMAIL"
    COMMITTER_NAME = "GIT_COMMITTER_NAME"
    COMMITTER_EMAIL = "GIT_COMMITTER_EMAIL"
    EMAIL = "EMAIL"


class EntryKind(StrEnum):
    """The kind of an entry in the books. hold: adds the reserved amount; release: subtracts it; spend: adds
    the spent amount; correct: changes it; unknown: the reservation stays.

    disputed: changes the amount claimed above the job's limit; no ceiling counts it until a user decides.
    """

    RESERVE = "hold"
    RELEASE = "release"
    SPEND = "spend"
    CORRECT = "correct"
    UNKNOWN = "unknown"
    DISPUTED = "disputed"


class ActionKind(StrEnum):
    """The kind of an action that a run's progress requires."""

    LAND = "land"
    USER = "person"
    """A user must answer, approve or deny; the coordinator does nothing by itself."""
    ADVANCE = "advance"
    """The run's workflow is updated."""
    GO_ON = "go_on"
    """The next interactive run of a session begins, with messages that the last one did not handle."""
    CHECK_GATES = "check_gates"
    """The gates run on the unchanged tree, and their verdict is reported."""
    FLEET = "fleet"
    """A fleet tool is called, as the active run of an orchestrator has requested."""
    TELL = "tell"
    """A message tells an orchestrator's session how the runs that it began ended; one action per session."""


class EventKind(StrEnum):
    """The kind of an event in the coordinator's event feed."""

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
    """Only feeds of older versions have it."""
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
    """The current state of a session, as interfaces show it."""

    WAITS_FOR_SLOT = "waits for a slot"
    STARTS = "starts"
    WORKS = "works"
    ASKS = "asks"
    """The session asks a question, which waits for a user's answer."""
    WAITS_FOR_YOU = "waits for you"
    """The session's program is running, and has answered everything."""
    SUSPENDED = "rests"
    """No program runs and no slot is used: the next message begins the next interactive run."""
    TURN_LOST = "turn lost"
    """The session's program ended within a turn; a user decides whether to send the message again."""
    ENDED = "ended"
    """A user has ended the session, or it is a run without turns."""


class How(StrEnum):
    """How a run's change becomes commits on a branch."""

    SQUASH = "squash"
    """One commit with the whole change."""
    MERGE = "merge"
    """The run's own commits, and a merge commit that joins them with the branch."""
    REBASE = "rebase"
    """The run's own commits, rebased onto the tip of the branch."""
