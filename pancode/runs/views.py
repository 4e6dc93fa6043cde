"""Converts runs to the JSON shapes that scripts rely on, and finds the run that a user's text names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, cast

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.policy import MODE_WRITES, Mode, Safety
from pancode.budget import books
from pancode.kernel import records
from pancode.kernel.declared import make_answer
from pancode.kernel.errors import NotFoundError, RefusedError, UsageError
from pancode.kernel.formatting import STATUSES, format_ordinal
from pancode.kernel.formatting import format_iso as format_iso
from pancode.kernel.formatting import format_optional_iso as format_optional_iso
from pancode.kernel.names import LAST, OF_AGENT, RUNNING, not_found, pick_run
from pancode.kernel.node import NodeState
from pancode.kernel.ports import Grouping, Transaction
from pancode.runs.answers import (
    AttemptShape,
    Json,
    LandingShape,
    LeaseShape,
    RunDetail,
    RunShape,
    RunWaits,
    ToldShape,
    UsageShape,
    VerificationShape,
)
from pancode.runs.core import Core
from pancode.runs.extension import RunSeries
from pancode.runs.facts import Lineage, Messages, ModelChoice, Provision
from pancode.runs.life.binding import handed_to
from pancode.runs.life.case import RunStage, place_in_line, stage_of, waits_there
from pancode.runs.life.conversation import intersect_rights, is_between_turns, is_blocked, list_next_runs
from pancode.runs.life.ends import GIVEN_UP
from pancode.runs.life.inbox import answerer_of, item_of, open_item
from pancode.runs.life.jobs import identity_of
from pancode.runs.life.waits import ONLY_HERE
from pancode.runs.receipts.rules import usage_of_all
from pancode.runs.receipts.trust import LANDED, NOTHING, REFUSED, REVERTED, landing_of, read_tested

_NEAR, _SHOWN, _TASK = 200, 8, 40
_PAGES = (20, 2_000)
"""How many of the newest runs are searched: the first number, then the second if that finds none."""


def get_run(core: Core, text: str) -> records.Run:
    """Find a run as `find_run` does, for a caller without a transaction."""
    with core.ports.ledger.transaction() as tx:
        return find_run(tx, text)


def newer_elsewhere(core: Core, folder: str) -> str:
    """Return a note if the last run in this folder is not the newest run of all; empty if it is."""
    with core.ports.ledger.transaction() as tx:
        here, newest = _find_last_run(tx, folder), _find_last_run(tx, "")
    if here is None or newest is None or here.id == newest.id:
        return ""
    place = newest.project or "no repository"
    return f"last is {here.id}, the newest run of {here.project}; {newest.id} in {place} is newer"


def find_series(core: Core, kind: str, name: str) -> RunSeries | None:
    """Return the series of runs with this name, of a feature; None without a name. NotFoundError."""
    if not name:
        return None
    with core.ports.ledger.transaction() as tx:
        return next((hook.act(tx, name) for hook in core.extensions.series if hook.concerns(kind)), None)


def load_run(tx: Transaction, name: str) -> records.Run:
    """Return the run with this id, which the caller knows to exist: runs are never deleted."""
    run = tx.get(records.Run, name)
    assert run is not None
    return run


def find_run(tx: Transaction, text: str) -> records.Run:
    """Return the run that the text names: an id, an unambiguous prefix, an agent's name, `last` or `running`.

    `last@FOLDER`: the last run of that folder. `running@RUN`: the newest running run that the session of RUN
    started. An agent's name means the agent's only run that has not ended; `agent:NAME` is always an agent's
    name. NotFoundError names the nearest id; UsageError lists the candidates.
    """
    exact = tx.get(records.Run, text)
    if exact is not None:
        return exact
    if text.partition("@")[0] == RUNNING:
        return _find_running(tx, text.partition("@")[2])
    if text.startswith(OF_AGENT):
        agent = text.removeprefix(OF_AGENT)
        newest = tx.find(records.Run, order="created_ms", descending=True, limit=_NEAR)
        found = _of_agent(tx, agent, newest)
        if found is None:
            raise not_found("agent", agent, {run.agent for run in newest}, "pancode runs")
        return found
    last, _, folder = text.partition("@")
    if last == LAST:
        return _find_last_run(tx, folder) or _find_picked(tx, LAST, [])
    prefix = text if text.startswith("r-") else f"r-{text}"
    ids = [str(key[0]) for key in tx.starting(records.Run, prefix, 20)] if text else []
    if ids:
        return _find_picked(tx, text, ids)
    newest = tx.find(records.Run, order="created_ms", descending=True, limit=_NEAR)
    # If the text is not an agent's name, the error suggests the nearest id.
    named = [run.id for run in newest if run.judges is None]
    return _of_agent(tx, text, newest) or _find_picked(tx, text, named)


def not_ended(tx: Transaction) -> Iterator[records.Run]:
    """Yield all runs that have not ended."""
    for state in records.RunState:
        if state is not records.RunState.ENDED:
            yield from tx.find(records.Run, {"state": state})


def _of_agent(tx: Transaction, agent: str, newest: list[records.Run]) -> records.Run | None:
    """Return the agent's only run that has not ended; None if no known run belongs to this agent. UsageError
    lists several such runs; NotFoundError lists the agent's ended runs."""
    mine = (run for run in not_ended(tx) if run.agent == agent and run.judges is None)
    found = sorted(mine, key=lambda run: run.created_ms, reverse=True)
    if len(found) == 1:
        return found[0]
    ended = [run for run in newest if run.agent == agent and run.judges is None]
    if not found and not ended:
        return None
    why = "; ".join(f"{run.id} {_in_short(run)}" for run in (found or ended)[:_SHOWN])
    fix = f"use the id of one run; to list all of them: pancode runs --agent {agent}"
    if found:
        what = f"agent {agent} has {len(found)} runs that have not ended"
        named = {"agent": agent, "runs": " ".join(run.id for run in found[:_SHOWN])}
        raise UsageError(what, why=why, fix=fix, code="run_ambiguous", details=named)
    raise NotFoundError(f"no run of agent {agent} is running", why=why, fix=fix, code="run_not_found")


def _in_short(run: records.Run) -> str:
    """Return the run's outcome or state, followed by the beginning of its task."""
    task = " ".join((run.task or " ".join(run.argv or ())).split())
    return f"({run.outcome or run.state}: {task[:_TASK]}{'...' if len(task) > _TASK else ''})"


def _find_last_run(tx: Transaction, folder: str) -> records.Run | None:
    """Return the newest run of the folder's repository; without a repository, the newest of all. Verifying
    runs are chosen last, because no user requested them."""
    runs: list[records.Run] = []
    for most in _PAGES if folder else _PAGES[:1]:
        newest = tx.find(records.Run, order="created_ms", descending=True, limit=most)
        runs = sorted(newest, key=lambda run: run.judges is not None)
        here = [run for run in runs if run.project and is_in(folder, run.project)]
        if here and here[0].judges is None:
            return here[0]
        if len(newest) < most:
            break
    return runs[0] if runs else None


def is_in(folder: str, project: str) -> bool:
    """Whether this folder is the top of that repository, or below it."""
    return f"{folder}/".startswith(f"{project}/")


def _find_running(tx: Transaction, of: str) -> records.Run:
    """Return the running run that started last, but no chat that waits for a message; NotFoundError names
    runs that are not running. `of`: consider only the runs that the session of this run started."""
    running = tx.find(records.Run, {"state": records.RunState.RUNNING})
    found = [run for run in running if run.judges is None and not _is_idle(tx, run)]
    if of:
        session = find_run(tx, of).session
        parents = {run.id: tx.get(records.Run, run.parent) for run in found if run.parent}
        found = [run for run in found if (by := parents.get(run.id)) and by.session == session]
        if not found:
            fix = "list its runs: pancode sessions show --tasks RUN; to stop the run you talk to: /stop"
            raise NotFoundError("no run that this session started is running", fix=fix, code="run_not_found")
    if found:
        return max(found, key=lambda run: (run.started_ms or 0, run.created_ms))
    others = (records.RunState.INTERRUPTING, records.RunState.COLLECTING, records.RunState.PENDING)
    there = [run for state in others for run in tx.find(records.Run, {"state": state}, limit=_SHOWN)][:_SHOWN]
    why = "; ".join(f"{run.id} is {run.state}: {run.reason}" for run in there)
    fix = "use the id of one of these runs: pancode runs stop RUN" if there else "pancode runs"
    raise NotFoundError("no run is running", why=why, fix=fix, code="run_not_found")


def _find_picked(tx: Transaction, text: str, ids: list[str]) -> records.Run:
    found = tx.get(records.Run, pick_run(text, ids))
    assert found is not None  # The run's id was read in this transaction.
    return found


def attempts_of(tx: Transaction, run: records.Run) -> list[records.Attempt]:
    """Return the run's attempts, oldest first; read by key, as lists of runs call this for each run."""
    found = (tx.get(records.Attempt, run.id, number) for number in range(1, run.attempt + 1))
    return [attempt for attempt in found if attempt is not None]


def usage_of_run(tx: Transaction, run: records.Run) -> dict[str, Any]:
    """Return the total usage of all attempts of a run; empty if nothing is known yet."""
    return usage_of_all(attempts_of(tx, run))


LONGEST = 100
"""How many runs of one chain are followed at most."""


def walk_previous(tx: Transaction, run: records.Run) -> Iterator[records.Run]:
    """Yield the runs that this run continues from, newest first."""
    for _ in range(LONGEST):
        old = Lineage.of(run).continues
        found = tx.get(records.Run, old) if old is not None else None
        if found is None:
            return
        yield found
        run = found


def session_of(tx: Transaction, run: records.Run) -> records.SessionRow | None:
    """Return the session of this run; None if the run is not interactive."""
    return tx.get(records.SessionRow, run.session) if run.takes_turns else None


def words_of(tx: Transaction, run: records.Run) -> list[records.StoredMessage]:
    """Return the messages that users have sent to this run, by number."""
    return tx.find(records.StoredMessage, {"run": run.id}) if Messages.of(run).told else []


def chain_of(tx: Transaction, run: records.Run) -> list[records.Run]:
    """Return the whole chain of continued runs that contains this run, oldest first."""
    return tx.find(records.Run, {"session": run.session}, order="place") if run.session else [run]


def hands_now(tx: Transaction, run: records.Run) -> tuple[Mode, Safety]:
    """Return the mode and safety level that limit the runs that this run dispatches: at most its own, those
    of its session's newest interactive run, and those that the user has chosen for the next run."""
    hands, session = (run.mode, run.safety), session_of(tx, run)
    if session is None:
        return hands
    newest = chain_of(tx, run)[-1]
    return intersect_rights(
        intersect_rights(hands, (session.mode, session.safety)), (newest.mode, newest.safety)
    )


def is_taken(tx: Transaction, old: records.Run) -> bool:
    """Whether the run's question is open or a run that answers it is active; only one may continue it."""
    if not is_blocked(old):
        return False
    newest = tx.get(records.Run, list_next_runs(old)[-1]) if list_next_runs(old) else None
    if newest is not None:
        return newest.state is not records.RunState.ENDED
    return any(action.kind is records.ActionKind.USER for action in tx.find(records.Action, {"run": old.id}))


def must_have_no_next(tx: Transaction, run: records.Run) -> None:
    """Raise RefusedError if another run already continues this one or repeats its work."""
    given_up = run.result.get(GIVEN_UP)
    found = [*list_next_runs(run), *([str(given_up)] if given_up else _list_retries(tx, run))]
    if found:
        what, fix = f"{run.id} was already continued by {found[-1]}", f"pancode runs show {found[-1]}"
        raise RefusedError(what, fix=fix, code="already_continued")


def _list_retries(tx: Transaction, run: records.Run) -> list[str]:
    ended = tx.tally(records.EndedRun, Grouping(("run",), among={"retry_of": (run.id,)}))
    begun = (one.id for one in not_ended(tx) if one.retry_of == run.id)
    return [*(str(one.key[0]) for one in ended), *begun]


def was_stopped(tx: Transaction, run: records.Run) -> bool:
    """Whether a stop was requested; for a lost run only its lease records this."""
    lease = newest_lease(tx, run)
    return run.stop_asked is not None or (lease is not None and lease.stop_sent)


HEARD = (NodeState.ONLINE, NodeState.DRAINING, NodeState.DRAINED)
"""States of a node with a recent heartbeat."""


def get_run_shape(core: Core, text: str) -> RunShape:
    """Return the run's entry as in the list of runs."""
    with core.ports.ledger.transaction() as tx:
        return run_shape(core, tx, find_run(tx, text))


_CHOSEN_WITHIN = 100
"""Among how many of a run's first timeline entries its agent's choice is searched."""


def get_run_detail(core: Core, text: str) -> RunDetail:
    """Return everything about one run."""
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, text)
        attempts = tx.find(records.Attempt, {"run": run.id})
        leases = tx.find(records.Lease, {"run": run.id})
        chain, words = [old.id for old in walk_previous(tx, run)], words_of(tx, run)
        shape = run_shape(core, tx, run)
        among = {"run": (run.id,), "kind": ("gate", "land", "verify"), "verdict": ("begun",)}
        begun = tx.tally(records.Decision, Grouping(("number", "what"), among=among))
        names = [str(what).split()[-1] for _, what in sorted(one.key for one in begun)]
        checks = [run_shape(core, tx, check) for name in names if (check := tx.get(records.Run, name))]
        waits = open_item(tuple(tx.find(records.Action, {"run": run.id})))
        # If the result lacks files, the node kept the checkout, so the note has the command that copies it.
        findings, told = list[str](), list[records.Decision]()
        denied = run.failure in (FailureKind.TOOL_DENIED, FailureKind.GATE_FAILED)
        if denied and run.read_only and run.mode in MODE_WRITES:
            told = tx.find(records.Decision, {"run": run.id}, order="number", limit=_CHOSEN_WITHIN)
        for one in told:
            if (one.kind, one.verdict) == ("agent", "chosen"):
                why = f"agent {run.agent}, which may not change files, was chosen because {one.detail}"
                findings.append(f"{why}; for an agent that may: pancode dispatch --agent builder TASK")
        if attempts and attempts[-1].failure is FailureKind.INCOMPLETE_RESULT and leases:
            node = tx.get(records.Node, leases[-1].node)
            reach: Mapping[str, object] = node.target if node is not None else {}
            home = reach.get("installed_home") or "~/.pancode-node/*"
            place = f"{home}/salvage/{identity_of(leases[-1])}/tree"
            copy = f"cp -r {place}" if reach.get("local") else f"scp -r {leases[-1].node}:{place}"
            findings.append(f"to copy all its files: {copy} {run.id}")
    rows: Json = {"attempts": [_describe_attempt(a) for a in attempts], "fences": [_lease(f) for f in leases]}
    rows |= {
        "chain": chain,
        "checks": checks,
        "inbox": _describe_inbox(run, waits),
        "told": list(map(_describe_message, words)),
    }
    details = _describe_details(run)
    details["findings"] += findings
    return cast("RunDetail", {**shape, **details, **rows})


def usage_of(usage: dict[str, Any]) -> UsageShape:
    """Return the usage stored in the ledger; before a node reports, 0 tokens and an unknown cost. Without a
    receipt, the source of a non-zero amount is `reported`, that of zero is `unknown`."""
    cost = usage.get("cost_usd")
    source = str(usage.get("cost_source") or ("reported" if cost and Decimal(str(cost)) else "unknown"))
    return {
        "input_tokens": int(usage.get("input_tokens") or 0),
        "output_tokens": int(usage.get("output_tokens") or 0),
        "cost_usd": None if cost is None or source == "unknown" else str(cost),
        "cost_source": source,
        "disputed_usd": usage.get(books.DISPUTED),
    }


def newest_lease(tx: Transaction, run: records.Run) -> records.Lease | None:
    return tx.get(records.Lease, run.id, run.lease) if run.lease else None


def node_of(tx: Transaction, run: records.Run) -> str | None:
    """Return the run's node; before placement, the node it is pinned to."""
    node = run.result.get("node")
    if node:
        return str(node)
    lease = newest_lease(tx, run)
    return lease.node if lease is not None else run.node


def in_line(tx: Transaction, run: records.Run, lease: records.Lease) -> str:
    """Return the reason why the run waits, with its place in the queue if it waits on a node."""
    if run.waits is not records.WaitReason.HANDED:
        return run.reason
    open_ = (records.LeaseState.OFFERED, records.LeaseState.ACCEPTED)
    there = (one for state in open_ for one in tx.find(records.Lease, {"node": lease.node, "state": state}))
    before = sum(place_in_line(one) < place_in_line(lease) for one in there if waits_there(one))
    where = handed_to(lease.node)
    return f"{where}, {format_ordinal(before + 1)} there{run.reason.removeprefix(where)}"


def describe_fault(core: Core, run: records.Run) -> str:
    """Return the words, after those on what the run waits for, about a Redis that cannot be used; empty: it
    can, or the run has ended."""
    fault = core.live.redis.fault
    return "" if fault is None or run.state is records.RunState.ENDED else f"; {fault}"


def status_of(run: records.Run, stage: RunStage, *, is_unheard: bool, is_idle: bool = False) -> str:
    """Return the run's status as shown everywhere: its stage, `unknown` while its node is silent, or outcome.

    `is_idle`: the run is interactive, has answered everything and waits for the user's message.
    """
    if run.state is not records.RunState.ENDED:
        idle = is_idle and stage is RunStage.RUNNING
        return "unknown" if is_unheard else "waiting_for_you" if idle else stage.value
    if run.landed:
        return "landed"
    landing = landing_of(run)
    if landing is not None and landing["status"] == "conflict":
        return "conflict"
    if run.outcome is Outcome.DONE and run.judges is None:
        if run.result.get("change") in ("no_change", "empty"):
            return "no_change"
        is_last = run.workflow is None and not list_next_runs(run)
        is_refused = landing is not None and landing["status"] in REFUSED
        return "to_land" if is_last and run.result.get("commit") and not is_refused else "done"
    if run.outcome is Outcome.BLOCKED and list_next_runs(run):
        return "answered"
    return "" if run.outcome is None else STATUSES.get(run.outcome.value, run.outcome.value)


SHOWN_STATUSES = (
    "answered",
    "conflict",
    "landed",
    "no_change",
    "to_land",
    "unknown",
    "unverified",
    "waiting_for_you",
)
"""What a list shows as a run's state beside the stages and the outcomes."""


def has_status(core: Core, tx: Transaction, run: records.Run, wanted: str) -> bool:
    """Whether a list shows the run with this status, or `unverified` in its place."""
    lease = newest_lease(tx, run)
    status = _status_in(tx, run, lease, bool(_list_unheard(core, tx, run, lease)))
    seen = read_tested(run) if wanted == "unverified" and status in ("done", "to_land") else None
    return status == wanted or (seen is not None and seen.state == wanted)


def _status_in(tx: Transaction, run: records.Run, lease: records.Lease | None, unheard: bool) -> str:
    return status_of(run, stage_of(run, lease), is_unheard=unheard, is_idle=_is_idle(tx, run))


def _is_idle(tx: Transaction, run: records.Run) -> bool:
    return run.takes_turns and is_between_turns(run, words_of(tx, run))


def run_shape(core: Core, tx: Transaction, run: records.Run) -> RunShape:
    lease = newest_lease(tx, run)
    result: dict[str, Any] = run.result
    stage, unheard = stage_of(run, lease), _list_unheard(core, tx, run, lease)
    lost = _still_running(core, tx, run) if run.outcome is Outcome.LOST or run.attempt > 1 else []
    usage = usage_of_run(tx, run) or result.get("usage")
    return make_answer(
        RunShape,
        run,
        run=run.id,
        status=_status_in(tx, run, lease, bool(unheard)),
        stage=stage.value,
        fence=run.lease,
        node=node_of(tx, run),
        task=run.task or " ".join(run.argv or ()),
        reason=(run.reason if lease is None else in_line(tx, run, lease)) + describe_fault(core, run),
        commit=result.get("commit"),
        files_changed=list(result.get("files_changed") or ()),
        receipt=result.get("receipt"),
        usage=usage_of(usage or {}),
        notes=[*lost, *unheard, *_end_notes(run)],
        continues=Lineage.of(run).continues,
        continued_by=list(list_next_runs(run)),
        landing=cast("LandingShape | None", landing_of(run)),
        verification=_describe_tested(run),
    )


def _end_notes(run: records.Run) -> list[str]:
    """Return details of a successful run that its outcome alone would hide."""
    if run.outcome is not Outcome.DONE:
        return []
    change = run.result.get("change")
    notes = ["no change"] if change in ("no_change", "empty") and run.judges is None else []
    return [*notes, *_trust(run), *_not_landed(run), *(["reverted"] if REVERTED in run.result else [])]


def _list_unheard(core: Core, tx: Transaction, run: records.Run, lease: records.Lease | None) -> list[str]:
    if run.state in (records.RunState.ENDED, records.RunState.PENDING) or lease is None:
        return []
    return unknown_since(core, tx, lease)


def _trust(run: records.Run) -> list[str]:
    seen = read_tested(run)
    return [] if seen is None else [seen.words]


def _describe_tested(run: records.Run) -> VerificationShape | None:
    seen = read_tested(run)
    return None if seen is None else {"state": seen.state.value, "why": seen.why}


def _not_landed(run: records.Run) -> list[str]:
    """Return a note if a requested landing waits or failed, so that the user notices."""
    landing = landing_of(run)
    if landing is None or run.landed or landing["status"] in (LANDED, NOTHING):
        return []
    status = str(landing["status"])
    return ["landing" if status == "waiting" else f"not landed: {status}".removesuffix(": workspace")]


def unknown_since(core: Core, tx: Transaction, lease: records.Lease) -> list[str]:
    """Return the note `unknown since T` for a running run whose node is silent."""
    node = tx.get(records.Node, lease.node)
    view = core.view_of(node) if node is not None else None
    if view is None or view.state in HEARD:
        return []
    heard_ms = core.last_heard_ms(tx, view)
    since = "the coordinator's start" if heard_ms is None else format_iso(max(heard_ms, lease.bound_ms))
    why = f": {view.node.quarantined}" if view.node.quarantined is not None else ""
    return [f"unknown since {since}: node {lease.node} is {view.state}{why or ', it sends no heartbeats'}"]


def _still_running(core: Core, tx: Transaction, run: records.Run) -> list[str]:
    """Return notes on lost leases that may still run: listed by the node, or their end not confirmed."""
    notes = []
    for lease in tx.find(records.Lease, {"run": run.id}):
        if not _is_lost(lease):
            continue
        which = "" if lease.lease == run.lease else f"attempt {lease.attempt} "
        # Whether the node still lists the lease in a heartbeat that answers one that we sent after giving up
        # the lease.
        contacts, identity = core.live.contacts, identity_of(lease)
        last, echoed = contacts.last_heartbeats.get(lease.tag), contacts.echoed_ms.get(lease.tag)
        since = core.live.answers.given_up_ms.get(str(identity), 0)
        named_since = (
            last is not None and echoed is not None and echoed > since and identity in last.heartbeat.ask.open
        )
        if named_since:
            notes.append(f"{which}lost, still running on {lease.node}")
        if lease.stop_sent:
            notes.append(f"{which}stop requested, not confirmed by {lease.node}")
    return notes


def _is_lost(lease: records.Lease) -> bool:
    return lease.closed is records.Closed.LOST and lease.receipt is None


def _describe_message(word: records.StoredMessage) -> ToldShape:
    laid = "" if word.laid == ONLY_HERE else word.laid
    shape: ToldShape = {
        "by": word.by,
        "at_ms": word.at_ms,
        "at": format_optional_iso(word.at_ms),
        "text": word.text,
        "delivered": laid,
    }
    if word.for_next:
        shape["for_next"] = True
    if word.turn is not None:
        shape["turn"] = word.turn
    return shape


def _describe_details(run: records.Run) -> Json:
    result: dict[str, Any] = run.result
    choice = ModelChoice.of(run)
    return {
        "argv": list(run.argv) if run.argv is not None else None,
        "mode": run.mode.value,
        "reasoning": run.reasoning,
        "safety": run.safety.value,
        "isolation": result.get("isolation"),
        "priority": run.priority,
        "gpus": run.gpus,
        "gpu_memory": run.gpu_memory,
        "project": run.project,
        "workspace": dict(run.workspace),
        "folder": str(run.workspace.get("folder") or "") or None,
        "in_workspace": Lineage.of(run).in_workspace or None,
        "setup": [list(argv) for argv in run.setup],
        "cache": list(run.cache),
        "verify": [str(gate["name"]) for gate in run.gates],
        "gates": list(result.get("gates") or ()),
        "reports": list(result.get("reports") or ()),
        "skills": [str(one["name"]) for one in Provision.of(run).skills],
        "limits": dict(run.limits),
        "estimate_usd": f"{run.estimate_usd:f}",
        "created_by": run.created_by,
        "answer": str(result.get("answer") or ""),
        "findings": list(result.get("findings") or ()),
        "calls": result.get("calls"),
        "actions": dict(result.get("tool_calls") or {}),
        "claimed": usage_of(result["claimed"]) if result.get("claimed") else None,
        "model_from": choice.model_from or None,
        "served": dict(choice.served) or None,
        "answered": answerer_of(run),
        "session": "same" if run.resumes else "new",
    }


def _describe_inbox(run: records.Run, action: records.Action | None) -> RunWaits | None:
    if action is None:
        return None
    item = item_of(run, action)
    return {"kind": item.kind.value, "command": item.command, "choices": list(item.choices)}


def _describe_attempt(attempt: records.Attempt) -> AttemptShape:
    return make_answer(
        AttemptShape,
        attempt,
        held_usd=f"{attempt.reserved_usd:f}",
        usage=usage_of(attempt.usage),
        agent_ms=int(str(lasted)) if (lasted := attempt.usage.get("agent_ms")) is not None else None,
    )


def _lease(lease: records.Lease) -> LeaseShape:
    return make_answer(
        LeaseShape,
        lease,
        fence=lease.lease,
        stop="asked" if lease.stop_sent and (lease.closed is None or _is_lost(lease)) else None,
    )
