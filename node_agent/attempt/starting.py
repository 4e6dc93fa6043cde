"""Starts an attempt after `accepted`: workspace, home, plan, shim, set-up; or reports that it cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from node_agent.attempt.claims import NEVER_RAN
from node_agent.attempt.context import Case, Progressed, Turn, Wait, digest_of
from node_agent.attempt.gateways import GatewayAccess
from node_agent.attempt.plans import SETUP_LOG, needs_sandbox, setup_plan, work_plan
from node_agent.attempt.ports import Guide, Launch, LinkDown, NotYet, StepFailed
from node_agent.attempt.records import ExitedData, Note, PreparedData, PutBack
from node_agent.attempt.verdict import Fault, setup_fault, stop_fault, vanished_fault
from node_agent.attempt.working import CUT_OFF, end_process, follow
from node_agent.shim.spool import Ended, ExitRecord, NotStarted, PhasePlan, RunnerError, Running, Vanished
from node_agent.wire.event import EventBody, Finding, Refused, Revoked
from node_agent.wire.failure import FailureKind, JobRefusal
from node_agent.wire.identity import Mark
from node_agent.wire.job import Job

NO_VALUE = "env: {0} has no value on this node; set it with pancode node secret {1} {0}"
UNTESTED = "the model was not tested, or failed its test; the run's owner allowed it (--untested)"
NO_LAST_TURN = "no last turn to wrap up at a limit: the model gateway does not count this run's calls"

NOT_CACHED = "set-up runs: the repository lists no folders to store for it (cache: in pancode.yaml)"
LAID_OUT_BEFORE = "the node was restarted before the run began: some of its files may be lost"


def hold(case: Case) -> Turn:
    """Wait at mark `held`: the node agent's main thread (`intake`) starts the job; only it counts slots."""
    return Wait("the job is held until a slot is free", case.context.intervals.poll_ms)


def prepare(case: Case) -> Turn:
    """accepted → prepared. Everything needed for the start is in place, with reserved space for records."""
    return end_unstarted(case) or _prepare(case, anew=case.was_accepted_before)


def _prepare(case: Case, anew: bool) -> Turn:
    """Prepare the attempt's files, again while the depot is unreachable. `anew`: old files are unreliable."""
    try:
        if anew:
            _clear(case)
        plan, launch, findings, entry = _lay_out(case)
        case.context.runner.prepare(case.work, plan, launch.stdin)
        ready, baseline = _put_back_or_plan(case, plan)
        if ready.restored:  # the files that the rules cover may have been created just now
            case.context.runner.amend(case.work, case.enclose(plan, plan, entry))
        if ready.restored or not case.job.setup:
            must_have_gates(case, plan)
        case.context.workspaces.lend(case.identity, launch.login, bool(case.job.setup) and not ready.restored)
        # after our last write, the files are handed over to the agent's user
        if launch.inside and launch.owner is not None:
            case.context.workspaces.hand_over(case.identity, case.job.workspace, launch.owner)
    except LinkDown:
        return end_unstarted(case, after_wait=True) or Wait(
            "the depot cannot be reached", case.context.intervals.retry_ms
        )
    except NotYet as held:
        return end_unstarted(case, after_wait=True) or Wait(str(held), case.context.intervals.retry_ms)
    except StepFailed as failed:
        return case.mark(Mark.EXITED, Fault(failed.kind, str(failed)))
    except RunnerError as failed:
        return case.mark(Mark.EXITED, runner_fault(failed))
    enforced = [[one.rule, one.how.value] for one in launch.enforced]
    data = PreparedData(
        enforced=enforced,
        isolation=launch.isolation.value,
        version=launch.version,
        served=launch.served.model_dump(mode="json") if launch.served is not None else None,
        prompt=digest_of(launch.prompt),
        gateway=entry is not None,
        boot=case.context.boot,
        cache=ready.key,
        restored=ready.restored,
        findings=[*findings, *ready.findings],
    )
    words = (Finding(level="info", text=ready.told),) if ready.told else ()
    return case.mark(Mark.PREPARED, None, data, *words, baseline=baseline)


def _put_back_or_plan(case: Case, work: PhasePlan) -> tuple[PutBack, str | None]:
    """Restore the stored result of set-up and record set-up as finished; otherwise plan the set-up."""
    context, job = case.context, case.job
    if not job.setup:
        return _skip_cache(job), None
    plan = setup_plan(job, work, case.folder)
    log = case.folder / SETUP_LOG
    ready = context.workspaces.put_back(job, log, plan.env) if job.cache else _skip_cache(job)
    if ready.restored:
        return ready, context.workspaces.baseline(case.identity, job.workspace)
    context.runner.prepare(case.setup, case.enclose(plan, work))
    return ready, None


def must_have_gates(case: Case, plan: PhasePlan) -> None:
    """Check, before the agent causes costs, that the gates' programs exist. StepFailed(GATE_MISSING)."""
    absent = case.context.workspaces.absent(case.job, plan.env.get("PATH", ""))
    if absent:
        node, named = case.context.node.name, ", ".join(absent)[:500]
        words = f"no agent was started: a gate's program was not found on {node}: {named}"
        look = f"to see PATH there: pancode dispatch --node {node} --runtime shell 'echo $PATH'"
        repair = f"(correct the gate, or let set-up install the program; {look})"
        raise StepFailed(FailureKind.GATE_MISSING, f"{words} {repair}")


def _skip_cache(job: Job) -> PutBack:
    return PutBack(None, told=NOT_CACHED if job.setup else "")


def spawn(case: Case) -> Turn:
    """prepared → spawned. The shim creates an exclusive record, so that no phase starts twice."""
    runner, first = case.context.runner, case.before_gates[0]
    if isinstance(runner.look(first), NotStarted):
        turn = end_unstarted(case)
        if turn is not None:
            return turn
        if case.was_prepared_before:  # the files were not synced
            return _prepare(case, anew=True)
        plan = runner.planned(first)
        if plan is None:
            return case.mark(
                Mark.EXITED, Fault(FailureKind.NODE_INTERNAL, "the plan of the agent's phase is missing")
            )
        try:
            reopen_gateway(case)
            runner.start(first, plan)
        except RunnerError as failed:
            # the start failed, but a slow shim may still run: the stop prevents it from executing anything
            runner.stop(first, "the start failed")
            if not isinstance(runner.look(first), NotStarted):
                return case.mark(Mark.SPAWNED, None)
            return case.mark(Mark.EXITED, runner_fault(failed))
        except StepFailed as failed:
            return case.mark(Mark.EXITED, Fault(failed.kind, str(failed)))
    return case.mark(Mark.SPAWNED, None)


def reopen_gateway(case: Case) -> GatewayAccess | None:
    """Reopen the attempt's gateway if it ended before the agent started; return its access. StepFailed."""
    return case.context.gateways.open(case.job, case.folder) if case.has_gateway else None


def end_unstarted(case: Case, after_wait: bool = False) -> Turn | None:
    """End the attempt if it must no longer be started; return None if it may be started.

    The process that accepted the job checked `start_by`; after a restart or a wait it is checked again. A
    held job may start at any time, because its `start_by` limits only when the node must have it.
    """
    entry, now = case.entry, case.context.now()
    if entry.stop is not None:
        return _withdraw(case, Revoked(reason=entry.stop.reason), entry.stop.reason)
    if Mark.HELD in entry.marks or (not after_wait and not case.was_accepted_before):
        return None
    if now is None:
        return Wait("the fleet time is not known yet", case.context.intervals.retry_ms)
    if not case.job.start_by.is_past(now):
        return None
    detail = "the start-by time passed before the run could be started"
    return _withdraw(case, Refused(why=JobRefusal.TOO_LATE, detail=detail), detail)


def _withdraw(case: Case, word: EventBody, why: str) -> Turn:
    """Stop the first phase, then check it: a shim that starts later finds the stop and executes nothing."""
    if case.entry.mark is Mark.PREPARED:
        first = case.before_gates[0]
        case.context.runner.stop(first, why)
        if not isinstance(case.context.runner.look(first), NotStarted):
            return case.mark(Mark.SPAWNED, None)
    case.context.journal.write(case.identity, Note(mark=Mark.REFUSED, data={"why": why}, say=(word,)))
    return Progressed()


def _clear(case: Case) -> None:
    """Remove the plans and stops of an earlier attempt to prepare. Raises RunnerError."""
    for phase in case.phases:
        case.context.runner.discard(phase)


def _lay_out(case: Case) -> tuple[PhasePlan, Launch, tuple[str, ...], GatewayAccess | None]:
    context, job = case.context, case.job
    context.sessions.go_on(job)
    work = context.workspaces.prepare(case.identity, job.workspace)
    findings: tuple[str, ...] = ()
    if files := context.runtimes.open_copied(job):
        findings = context.workspaces.lay_copied(case.identity, job.workspace, files)
    home = context.workspaces.home(case.identity, {})
    context.sessions.put_back(job)
    guide = context.workspaces.guide(case.identity, job.workspace) or Guide("")
    entry = context.gateways.open(job, case.folder)
    findings += (*guide.findings, *_without_gateway(job, entry), *((UNTESTED,) if job.untested else ()))
    launch = context.runtimes.launch(job, work, home, guide.text, entry)
    findings += tuple(NO_VALUE.format(name, context.node.name) for name in launch.unset)
    context.workspaces.home(case.identity, launch.files, keep=True)
    planned = context.runner.planned(case.work)  # a plan stays valid if a crash interrupted its preparation
    ports: tuple[int, ...] = ()
    if job.ports and planned is None:
        ports = context.workspaces.reserve_ports(
            case.identity, job.ports, lambda: {str(one.identity) for one in context.journal.live()}
        )
    fresh = planned or work_plan(job, launch, work, case.folder, context.intervals, context.ceiling(), ports)
    if planned is not None and needs_sandbox(planned) is not launch.inside:
        raise StepFailed(
            FailureKind.SANDBOX, "the sandbox became available or unavailable between two preparations"
        )
    if planned is None and launch.inside:
        fresh = case.put_inside(fresh, entry)
    return fresh, launch, findings, entry


def _without_gateway(job: Job, entry: GatewayAccess | None) -> tuple[str, ...]:
    """Raise StepFailed if a limit needs a gateway; return a finding if a last model call is impossible."""
    if entry is not None and not entry.is_tunnel:
        return ()
    if job.limits.requests is not None:
        raise StepFailed(
            FailureKind.MODEL_AUTH,
            f"the model gateway cannot limit the model calls of {job.runtime} on this node, because it does "
            "not count them: give the node an API key or a model server, or leave --max-requests out",
        )
    return (NO_LAST_TURN,) if job.limits.wrap_up else ()


def runner_fault(failed: RunnerError) -> Fault:
    kind = FailureKind.DISK_FULL if failed.disk_full else FailureKind.NODE_INTERNAL
    return Fault(kind, str(failed))


LAST_BYTES, LAST_LINES, MOST_TOLD = 4_096, 3, 600


def attend(case: Case) -> Turn:
    """spawned → exited: run set-up, if there is one, then the agent. A baseline means that set-up is over."""
    if not case.job.setup or case.entry.damaged:
        return follow(case)
    if case.entry.baseline is None:
        return _setting_up(case)
    if isinstance(case.context.runner.look(case.work), NotStarted):
        return _start_agent(case)
    return follow(case)


def _setting_up(case: Case) -> Turn:
    seen, stop = case.context.runner.look(case.setup), case.entry.stop
    match seen:
        case Running():
            if stop is not None:
                end_process(case, case.setup, stop.reason)
            return Wait("set-up is running", case.context.intervals.look_ms, case.setup)
        case Ended(record, rebooted):
            return _set_up_ended(case, record, rebooted)
        case Vanished():
            return _end_lost_phase(case, vanished_fault(seen, stop))
        case NotStarted():
            return _end_lost_phase(
                case, Fault(FailureKind.PROCESS_VANISHED, "the record of the process is missing")
            )
        case _:
            assert_never(seen)


def _set_up_ended(case: Case, record: ExitRecord, rebooted: bool) -> Turn:
    """Record set-up's end. After a reboot its files may be incomplete: start no agent and store no copy."""
    fault = setup_fault(record, case.entry.stop, case.limits)
    if fault is None and rebooted:
        fault = Fault(FailureKind.NODE_REBOOTED, CUT_OFF)
    if fault is not None:
        return _never_ran(case, add_last_lines(case, fault))
    try:
        # The set-up's files are stored before the agent can change them. The key was computed before set-up,
        # which may change lockfiles.
        key = case.entry.prepared.get("cache")
        kept = () if key is None else case.context.workspaces.keep(case.job, key)
        baseline = case.context.workspaces.baseline(case.identity, case.job.workspace)
    except StepFailed as failed:
        return _never_ran(case, Fault(failed.kind, str(failed)))
    words = (Finding(level="info", text=_format_duration(case, record, kept)),)
    case.context.journal.write(case.identity, Note(baseline=baseline, findings=kept, say=words))
    return Progressed()


def add_last_lines(case: Case, fault: Fault) -> Fault:
    """Add the failed step's last lines to the reason; a truncated line could contain half a secret."""
    if fault.kind is not FailureKind.SETUP_FAILED:
        return fault
    left = case.context.runner.tail(case.folder / SETUP_LOG, -LAST_BYTES, LAST_BYTES)
    lines = case.cleaner()(left.decode("utf-8", "replace")).splitlines()
    tail = [line.strip() for line in lines[len(left) == LAST_BYTES :] if line.strip()][-LAST_LINES:]
    return Fault(fault.kind, ": ".join((fault.reason, " | ".join(tail)[-MOST_TOLD:]))) if tail else fault


def _format_duration(case: Case, record: ExitRecord, why_not: tuple[str, ...]) -> str:
    key = case.entry.prepared.get("cache")
    kept = "; its result is stored for later runs" if key is not None and not why_not else ""
    return f"set-up took {(record.ended_mono_ms - record.began_mono_ms) / 1000:.1f} s{kept}"


def _start_agent(case: Case) -> Turn:
    """Start the agent. As for every phase, an exclusive record prevents a second start."""
    stop, left = case.entry.stop, case.time_left()
    if stop is not None:
        return _withhold(case, stop_fault(stop))
    if case.was_prepared_before:
        return _withhold(case, Fault(FailureKind.NODE_REBOOTED, LAID_OUT_BEFORE))
    if left == 0:
        return _withhold(case, Fault(FailureKind.WALL_LIMIT, "set-up used the whole time limit of the run"))
    try:
        planned = case.context.runner.planned(case.work)
        if planned is None:
            return _never_ran(
                case, Fault(FailureKind.NODE_INTERNAL, "the plan of the agent's phase is missing")
            )
        must_have_gates(case, planned)
        plan = _renew_plan(case, planned, left)
        case.context.runner.amend(case.work, plan)
        case.context.runner.start(case.work, plan)
    except RunnerError as failed:
        return _withhold(case, runner_fault(failed))
    except StepFailed as failed:
        return _withhold(case, Fault(failed.kind, str(failed)))
    return Progressed()


def _renew_plan(case: Case, planned: PhasePlan, left: int) -> PhasePlan:
    """Restore the files that set-up could change; rebuild the sandbox by the current rules. StepFailed."""
    entry = reopen_gateway(case)
    case.context.workspaces.renew(case.identity)
    case.context.sessions.put_back(case.job)
    plan = replace(planned, limits=replace(planned.limits, wall_ms=left))
    return case.enclose(plan, plan, entry)


def _withhold(case: Case, fault: Fault) -> Turn:
    """Stop the agent's phase, then check it: a shim that starts later finds the stop and executes nothing."""
    case.context.runner.stop(case.work, fault.reason)
    if not isinstance(case.context.runner.look(case.work), NotStarted):
        return Progressed()  # the phase had already started
    return _never_ran(case, fault)


def _end_lost_phase(case: Case, fault: Fault) -> Turn:
    swept = case.context.runner.sweep(str(case.identity))
    return _never_ran(case, fault, [f"{swept} processes were left behind and killed"] if swept else [])


def _never_ran(case: Case, fault: Fault, findings: list[str] | None = None) -> Turn:
    """Record the end of an attempt whose agent never ran and therefore cost nothing."""
    data = ExitedData(usage=NEVER_RAN["usage"], findings=findings or [])
    record = case.record(case.setup)
    if record is not None:
        data["began"], data["ended"] = record.began_wall_ms, record.ended_wall_ms
    return case.mark(Mark.EXITED, fault, data)
