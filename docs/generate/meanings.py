"""Says in words what each failure, refusal and state means; all else in the tables is read from the code."""

from __future__ import annotations

from collections.abc import Mapping

from node_agent.wire.failure import FailureKind, JobRefusal
from node_agent.wire.identity import Mark
from node_agent.wire.signing import RefusalCode
from pancode.kernel.node import NodeState
from pancode.kernel.records import Closed, EventKind, LeaseState, RunState, WaitReason
from pancode.runs.life.case import RunStage

FAILED: Mapping[FailureKind, str] = {
    FailureKind.AGENT_FAILED: "the agent's program said so, or ended with an error",
    FailureKind.NO_ANSWER: "it ended without its final word, or with an empty one, whatever its exit status",
    FailureKind.TOOL_DENIED: "a tool that it needed was denied",
    FailureKind.GATE_FAILED: "a verification gate ran and did not pass",
    FailureKind.NEEDS_USER: "it asked for a user's decision",
    FailureKind.WALL_LIMIT: "it ran for longer than `limits.wall`",
    FailureKind.IDLE_LIMIT: "it wrote nothing for longer than `limits.idle`, and no model was asked",
    FailureKind.OUTPUT_LIMIT: "it wrote more than `limits.output`",
    FailureKind.MEMORY_LIMIT: "it took more memory than `limits.memory` or its node allow",
    FailureKind.PROCESS_LIMIT: "it had more processes and threads than `limits.processes` or its node allow",
    FailureKind.DISK_LIMIT: "its checkout and home were larger than `limits.disk` or its node allow",
    FailureKind.TOKEN_LIMIT: "it used more tokens than `limits.tokens`",
    FailureKind.USD_LIMIT: "it spent more than the budget of this run",
    FailureKind.REQUEST_LIMIT: "it made more model calls than `limits.requests`",
    FailureKind.TURN_LIMIT: "its model answered more often than `max_turns` of its agent",
    FailureKind.STOPPED: "a user stopped it, or it was given up for another attempt",
    FailureKind.DRAINED: "its node was drained at once",
    FailureKind.NODE_LOST: "its node was not heard for the whole deadline",
    FailureKind.READ_ONLY_BROKEN: "a read-only run changed files",
    FailureKind.RULE_BROKEN: "what it did or left breaks a safety rule of a user's",
    FailureKind.CANNOT_START: "the program that was asked for is not there, or the folder to begin in",
    FailureKind.GATE_MISSING: "the program of a gate is not on that node; no agent was started",
    FailureKind.MODEL_AUTH: "the model's server did not accept the login",
    FailureKind.MODEL_BUSY: "the model's server was overloaded or limited the rate",
    FailureKind.MODEL_FAILED: "the model's server failed otherwise",
    FailureKind.MODEL_REFUSED: "the model's server refused the request as it was (HTTP 400 or 413); "
    "the same request would be refused again",
    FailureKind.RUNTIME_MISSING: "the runtime's program could not be started on the node",
    FailureKind.RUNTIME_UNREADABLE: "the runtime's output could not be understood",
    FailureKind.SETUP_FAILED: "a command of `setup` failed, could not be started, or was ended by a limit",
    FailureKind.GATE_NOT_RUNNABLE: "a gate could not be started, or ended with status 126 or 127",
    FailureKind.GATE_NOT_JUDGED: "a limit of the run ended a gate, or left it no time",
    FailureKind.WORKSPACE: "the checkout could not be made or read on the node",
    FailureKind.DEPOT: "the coordinator's depot refused to give the code",
    FailureKind.RESULT_REFUSED: "the depot did not take the result: git's fsck refused it, or it is too much",
    FailureKind.INCOMPLETE_RESULT: "files of the agent are not in the result (larger than 100 MB, in a "
    "submodule, or of a name that git takes for its own); the node keeps them all, and the end "
    "names the command that copies them",
    FailureKind.DISK_FULL: "the node's disk was full",
    FailureKind.PROCESS_VANISHED: "the process and its shim ended without a record",
    FailureKind.NODE_REBOOTED: "the node was restarted while it ran",
    FailureKind.RECEIPT_REJECTED: "the receipt was rightly signed, and false",
    FailureKind.NODE_INTERNAL: "a fault of PanCode's own on the node",
    FailureKind.SANDBOX: "the node's sandbox could not be made, or nothing there would hold the run",
}
REFUSED: Mapping[JobRefusal, str] = {
    JobRefusal.BAD_ENVELOPE: "the signature or a field does not hold; counted, nobody is answered",
    JobRefusal.WRONG_FLEET: "it is for another fleet; counted, nobody is answered",
    JobRefusal.WRONG_NODE: "it is for another node; counted, nobody is answered",
    JobRefusal.OLD_EPOCH: "it was signed before a newer start of the coordinator",
    JobRefusal.NO_FLEET_TIME: "the node does not know yet what time it is in the fleet",
    JobRefusal.TOO_LATE: "its start-by is past",
    JobRefusal.OLD_LEASE: "a newer binding of this run is in the journal",
    JobRefusal.LEASE_CONFLICT: "the same lease came before with other bytes",
    JobRefusal.TOMBSTONED: "this binding was given up",
    JobRefusal.STOPPED: "a stop for it came first",
    JobRefusal.REVOKED: "the node is no longer of this fleet",
    JobRefusal.DRAINING: "the node takes nothing new",
    JobRefusal.NO_SLOT: "every slot is taken",
    JobRefusal.RUNTIME_MISSING: "the runtime is not ready there",
    JobRefusal.CEILING: "it goes beyond what the node's owner allows, or the owner's files cannot be read",
    JobRefusal.DISK_FULL: "less free disk than the node keeps in reserve",
    JobRefusal.TAKEN_BACK: "it was held there and had not begun; it is bound again, perhaps elsewhere",
}
REFUSED_ENVELOPE: Mapping[RefusalCode, str] = {
    RefusalCode.MALFORMED: "it is no envelope",
    RefusalCode.UNSIGNED: "it carries no signature",
    RefusalCode.UNKNOWN_KEY: "none of its signatures is by a key that is trusted here",
    RefusalCode.TAMPERED: "a trusted key's signature does not fit the bytes",
    RefusalCode.WRONG_TYPE: "it is another kind of message than this place takes",
    RefusalCode.UNKNOWN_VERSION: "its version of the contract is not known here",
    RefusalCode.UNKNOWN_FIELD: "it has a field that is not in the contract",
    RefusalCode.INVALID_FIELD: "a field is missing, or its value is outside of what is allowed",
}
STAGES: Mapping[RunStage, str] = {
    RunStage.WAITING: "no node has it; `waits` says why",
    RunStage.PLACED: "a node was chosen, its job is signed; the node has not taken it yet",
    RunStage.PREPARING: "the node makes the checkout",
    RunStage.RUNNING: "set-up or the agent is at work",
    RunStage.VERIFYING: "the agent has ended; its change is committed, gates judge it",
    RunStage.DELIVERING: "result and outputs are on their way to the coordinator, then the receipt",
    RunStage.STOPPING: "an end was asked for and is not confirmed by the node yet",
    RunStage.ENDED: "it has its outcome",
}
WAITS: Mapping[WaitReason, str] = {
    WaitReason.QUEUED: "it was just admitted",
    WaitReason.NO_NODE: "no node of the fleet fits it as things are",
    WaitReason.NO_SLOT: "the nodes that fit are busy",
    WaitReason.NO_GPU: "the GPUs that it asks for are held by other runs",
    WaitReason.NODE_AWAY: "the nodes that fit are away, paused, draining or take no work",
    WaitReason.PAUSED: "the fleet or its queue is paused",
    WaitReason.QUARANTINED: "the node that it was offered to is quarantined",
    WaitReason.BUDGET: "a ceiling has no room for it now",
    WaitReason.RETRY: "the pause before its next attempt is not over",
    WaitReason.RETURNED: "a node did not take it; it is placed again",
    WaitReason.OLDER_ATTEMPT: "an attempt that a restored ledger does not know is still being ended",
    WaitReason.DEPOT: "its result cannot be taken in now, such as on a full disk",
    WaitReason.HANDED: "its job waits on a node, which begins it when a slot is free",
    WaitReason.WORKFLOW: "its workflow lets it begin later: `concurrency` or `stagger_ms`",
    WaitReason.USER: "a user approves it before it begins (`pancode inbox`)",
    WaitReason.RESTORED: "the ledger was restored, and a user decides (`pancode fleet resume --held`)",
    WaitReason.GATES: "its gates pass on the unchanged tree first (`--check-gates-first`)",
    WaitReason.FORGOTTEN: "its node's journal no longer knows it; nobody can say whether it runs",
}
RUNS: Mapping[RunState, str] = {
    RunState.PENDING: "waits, with a reason: queued, offered, node busy, paused, budget, next try at T",
    RunState.RUNNING: "its node has accepted the job",
    RunState.INTERRUPTING: "an end was asked for and is not confirmed by the node yet",
    RunState.COLLECTING: "the agent has ended; commit, gates and receipt are under way",
    RunState.ENDED: "has its outcome",
}
LEASES: Mapping[LeaseState, str] = {
    LeaseState.OFFERED: "signed and pushed; counts as perhaps running",
    LeaseState.ACCEPTED: "in the node's journal",
    LeaseState.RUNNING: "its process was started",
    LeaseState.CLOSED: "over, see below",
}
CLOSED: Mapping[Closed, str] = {
    Closed.RECEIPT: "a receipt came, accepted or rejected",
    Closed.REFUSED: "the node refused the job",
    Closed.REVOKED: "a stop came before anything was started",
    Closed.NOT_NOW: "the node could take nothing then, as it said; it is waited for",
    Closed.NEVER_ACCEPTED: "a journal told after start-by does not name it",
    Closed.LOST: "the node was silent for the whole deadline",
}
MARKS: Mapping[Mark, str] = {
    Mark.HELD: "the job and its snapshot are on disk; it begins when a slot is free",
    Mark.ACCEPTED: "the job is on disk; space for the records of its end is reserved",
    Mark.PREPARED: "checkout, home and plan are there",
    Mark.SPAWNED: "the shim has written its exclusive record and started the work",
    Mark.EXITED: "the work has ended, and how is known",
    Mark.COMMITTED: "the result commit was made, by the node, from the files",
    Mark.GATED: "the gates have run on that commit, or there was nothing to judge",
    Mark.PUSHED: "commit, log and outputs are at the coordinator",
    Mark.RECEIPTED: "the signed receipt is on disk; from now on it is published until it is answered",
    Mark.ACKNOWLEDGED: "the coordinator's countersignature was verified, or it is an orphan",
    Mark.REJECTED: "the coordinator will never accept the receipt; everything is kept",
    Mark.REFUSED: "nothing was started, and the coordinator was told",
}
NODES: Mapping[NodeState, str] = {
    NodeState.NEW: "in the inventory, never brought up",
    NodeState.ONLINE: "heard; may be given work",
    NodeState.SUSPECT: "not heard for {suspect}, or not yet since the coordinator's start: gets nothing new",
    NodeState.UNREACHABLE: "not heard for {unreachable}: nothing new is bound; what runs there continues",
    NodeState.LOST: "not heard for {lost}: attempts there end as `lost`, until a receipt comes after all",
    NodeState.DRAINING: "takes nothing new, something still runs",
    NodeState.DRAINED: "takes nothing new, nothing runs",
    NodeState.HALTED: "its owner took its node agent down (`pancode fleet down NODE`): gets nothing new; "
    "what runs there continues and is not lost",
    NodeState.QUARANTINED: "it kept more in Redis than it may, or two nodes have its key: shut out until "
    "`pancode fleet resume NODE`; "
    "what runs there continues and is not lost",
    NodeState.REMOVED: "no longer of the fleet, and proven clean",
    NodeState.NOT_CLEANED: "no longer of the fleet, and could not be reached: cleaned at the next contact",
}


HAPPENED: Mapping[EventKind, str] = {
    EventKind.RUN_QUEUED: "a run was admitted; what was asked for",
    EventKind.RUN_WAITS: "it waits; `waits` says for what, `reason` says it to users",
    EventKind.RUN_PLACED: "a job of it was signed for that node",
    EventKind.RUN_STAGE: "its job has come so far: the stages of the logs",
    EventKind.RUN_USAGE: "it has used so much by now",
    EventKind.RUN_STOPPING: "its end was asked for, and its node has not confirmed it",
    EventKind.RUN_RETRY: "another attempt follows",
    EventKind.RUN_ENDED: "it has ended, or a lost one was found; its outcome",
    EventKind.RUN_LANDING: "its change was landed, or why not",
    EventKind.RUN_TURN: "a turn of an interactive run has ended: its number and why",
    EventKind.RUN_HEALTH: "an agent is quiet, or stuck: the evidence, and what may be done",
    EventKind.FLEET_PAUSED: "PanCode has paused the fleet: several failures within a minute",
    EventKind.RUN_VERIFIED: "only from versions before this one: another node has run its gates",
    EventKind.WORKFLOW_STARTED: "a workflow was begun; its kind and name",
    EventKind.WORKFLOW_STEP: "a step of a workflow is in another state; its round and reason",
    EventKind.WORKFLOW_ENDED: "a workflow has come to its end; its state and reason",
    EventKind.INBOX_ITEM: "it waits for a user: kind, words, and the command that answers",
    EventKind.INBOX_ANSWERED: "a user has answered; `pancode why` and the audit say who",
    EventKind.NODE_STATE: "a node is in another state than before; null: just known",
    EventKind.BUDGET_ALERT: "80 % of a ceiling is spent or held; `scope`, `used` and `ceiling` say of which",
    EventKind.SCHEDULE_FIRED: "a schedule has begun its work, or why not: begun, refused, failed, skipped",
    EventKind.AUDIT: "a line of the audit (`pancode audit`)",
}
