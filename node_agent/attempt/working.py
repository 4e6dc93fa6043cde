"""Follows an attempt from `spawned` to `exited`: reads its output, enforces limits and records the end."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from node_agent.attempt import verdict
from node_agent.attempt.claims import NEVER_RAN, limit_names, usage_to_json
from node_agent.attempt.context import Case, Turn, Wait
from node_agent.attempt.fleet_calls import tell_fleet_calls
from node_agent.attempt.gateways import ModelCount
from node_agent.attempt.left_for_others import take_outputs
from node_agent.attempt.plans import ANSWER, ERR, OUT
from node_agent.attempt.ports import DiskFull, ReportedEnd, StepFailed
from node_agent.attempt.records import ExitedData, Note, StopKind, StopNote
from node_agent.attempt.turns import cut_by, is_waiting, suspend_in_time, tell_turns
from node_agent.attempt.watch import (
    SECRET,
    TOO_MANY,
    OutputWatch,
    SignsOfLife,
    is_call_allowed,
    signed_answer,
    sort_calls,
)
from node_agent.policy.commands.tree import get_ready
from node_agent.policy.judging import NOWHERE, Bounds, Where
from node_agent.runtimes.base import EndedBy, ExitInfo
from node_agent.runtimes.logins import pause_ms
from node_agent.shim import spool
from node_agent.wire.control import UserAnswers
from node_agent.wire.event import BudgetAsked, Finding, Interrupting, MessagesHeard, Progress, UserAsked
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import Mark
from node_agent.wire.policy import CallAsked


def watch_of(case: Case) -> OutputWatch:
    """Return the reader of this attempt's output; after a restart, create a new one."""
    if case.watch is None:
        calls, key = case.context.calls, case.context.key.public
        bounds = Bounds(
            _place(case),
            case.context.ceiling().rules,
            lambda command, pattern: is_call_allowed(
                calls.answers(case.identity), case.identity, key, command, pattern
            ),
            frozenset(tool.name for tool in case.job.fleet_tools.tools)
            if case.job.fleet_tools
            else frozenset(),
        )
        reader = case.context.runtimes.reader(case.job, bounds, case.laid)
        case.watch = OutputWatch(reader, case.folder / OUT, case.folder / ERR)
        policy, rules = case.job.policy, (*case.job.policy.commands, *bounds.rules.commands)
        if any(rule.ask for rule in rules):
            case.watch.policy = policy.model_copy(update={"commands": rules})
    return case.watch


def _place(case: Case) -> Where:
    """Return the agent's workspace and home, against which paths are resolved; NOWHERE without a plan."""
    plan = case.context.runner.planned(case.work)
    return NOWHERE if plan is None else Where(plan.cwd, plan.env.get("HOME", "~"), plan.below)


def report_questions(case: Case, watch: OutputWatch, seen: frozenset[CallAsked]) -> None:
    """Report the open questions that were `seen` before the output was read. After a restart all of them are
    reported again; the coordinator accepts each question once."""
    calls = case.context.calls
    if watch.policy is None and case.job.turns is None:
        return _wait_for_others(case, watch, False)
    still = [one for one in calls.open(case.identity) if one in seen] if seen else []
    policy = watch.policy or case.job.policy
    found = sort_calls(still, frozenset(watch.known_calls), policy)
    if found.calls:
        _tell(case, watch, found.calls)
    for one in found.deny:
        _deny_call(case, one, TOO_MANY)
    _wait_for_others(case, watch, found.waits or is_waiting(watch.spent) or bool(watch.spent.fleet))


def _wait_for_others(case: Case, watch: OutputWatch, user: bool) -> None:
    """Pause the idle limit while the agent waits for a user (`user`) or for the start of a model's answer."""
    waits = user or (watch.count is not None and watch.count.waiting > 0)
    if waits is not watch.waits:
        case.context.calls.patience(case.work, waits)
        watch.waits = waits


def _tell(case: Case, watch: OutputWatch, calls: tuple[UserAsked, ...]) -> None:
    clean = case.cleaner()
    for event in calls:
        if clean(event.asked.command) != event.asked.command:
            _deny_call(case, event.asked, SECRET)
            continue
        with contextlib.suppress(DiskFull):  # the call is reported in the next pass
            case.context.journal.write(case.identity, Note(say=(event,)))
            watch.known_calls += (event.asked.call,)


def _deny_call(case: Case, call: CallAsked, words: str) -> None:
    answers = UserAnswers(identity=case.identity, asked=call, allow=False, words=words)
    with contextlib.suppress(StepFailed, DiskFull):
        case.context.calls.answer(case.identity, call.call, signed_answer(answers, case.context.key))


ANSWER_CHARS = 4_000
"""The maximum number of characters of an answer in a receipt."""
CUT_OFF = "the node was restarted before the run's output was safely on disk"


def follow(case: Case) -> Turn:
    """spawned → exited, or a Wait while the agent still runs."""
    if case.entry.damaged:
        # the journal lost records of this attempt, so end its remaining processes and keep its files
        for phase in case.before_gates:
            case.context.runner.stop(phase, "the node's journal entry for this attempt was damaged")
        fault = verdict.Fault(
            FailureKind.NODE_INTERNAL, "the node's journal entry for this attempt was damaged"
        )
        return _end_lost_phase(case, fault)
    seen = case.context.runner.look(case.work)
    match seen:
        case spool.Running():
            return _watch_run(case)
        case spool.Ended(record, rebooted):
            return _cut_off(case, record) if rebooted else _end_phase(case, record)
        case spool.Vanished():
            return _end_lost_phase(case, verdict.vanished_fault(seen, case.entry.stop))
        case spool.NotStarted():
            return _end_lost_phase(
                case, verdict.Fault(FailureKind.PROCESS_VANISHED, "the record of the process is missing")
            )
        case _:
            assert_never(seen)


def end_process(case: Case, folder: Path, reason: str) -> None:
    """Request that the phase end, once per node agent process, because the request stays on disk."""
    watch = watch_of(case)
    if not watch.asked_to_stop:
        case.context.runner.stop(folder, reason)
        watch.asked_to_stop = True


def _watch_run(case: Case) -> Turn:
    watch, context = watch_of(case), case.context
    watch.seen_wall_ms = context.clock.wall_ms()
    seen = frozenset(context.calls.open(case.identity) if watch.policy else ())
    done = watch.pull(context.runner)
    if watch.policy and case.job.turns is not None and not is_waiting(watch.spent):
        get_ready()  # questions are handled here too, while a user waits
    # checked after the output: a call is counted before the agent gets its answer
    gone = _gateway_gone(case, watch)
    entry = case.entry
    _tell_offences(case, watch)
    _note_delivered(case, watch)
    with contextlib.suppress(DiskFull):  # the question is reported in the next pass
        if watch.count is not None and watch.count.asked > watch.told_budget:
            asks = BudgetAsked(number=watch.count.asked, usd=watch.count.asked_usd)
            context.journal.write(case.identity, Note(say=(asks,)))
            watch.told_budget = asks.number
        if case.job.turns is not None:
            tell_turns(case, watch)
            suspend_in_time(case, watch)
            tell_fleet_calls(case, watch)
        if done:  # a question is reported after the end of all earlier turns
            report_questions(case, watch, seen)
    if entry.stop is None:
        stop = (
            _check_offences(watch) or gone or _check_limits(case, watch) or verdict.failing_model(watch.count)
        )
        _tell_wrap_up(case, watch)
        if stop is not None:
            note = Note(stop=stop, say=(Interrupting(reason=stop.reason),))
            entry = context.journal.write(case.identity, note)
    if entry.stop is not None:
        end_process(case, case.work, entry.stop.reason)
    if watch.is_news(context.clock.mono_ms(), context.intervals.progress_ms):
        spent = watch.spent
        body = Progress(
            input_tokens=spent.usage.input_tokens,
            output_tokens=spent.usage.output_tokens,
            cost_usd=spent.usage.cost_usd,
            tool_calls=spent.calls,
            log_bytes=watch.offset,
            agent_ms=_lived_ms(case),
        )
        with contextlib.suppress(DiskFull):  # the totals are reported again later, and in the receipt
            case.context.journal.write(case.identity, Note(say=(body,), lossy=True))
    _look_for_signs(case, watch)
    # users wait for the text and the questions of an interactive run
    wakes = () if case.job.turns is None else (case.folder / OUT, *context.calls.folders(case.identity))
    return Wait("running", context.intervals.look_ms if done else 1, case.work, wakes)


def _gateway_gone(case: Case, watch: OutputWatch) -> StopNote | None:
    """Update the gateway's count; return a stop if the gateway has ended, because no other is started."""
    if not case.has_gateway:
        return None
    # checked before the count is read: the gateway writes its last count and then ends
    alive = case.context.gateways.is_alive(case.folder)
    watch.count = case.context.gateways.count(case.folder)
    if alive or (watch.count is not None and watch.count.ended):
        return None  # the gateway ends with the agent's shim, which has not been checked since
    return StopNote(StopKind.GATEWAY, verdict.GATEWAY_GONE)


def _check_limits(case: Case, watch: OutputWatch) -> StopNote | None:
    """Return a stop if the run exceeds a limit by the runtime's own count. If there is a gateway, it alone
    ends interactive runs and runs that may have a last call."""
    limits = case.job.limits
    late = verdict.too_many_turns(limits.turns, watch.spent.usage.turns, watch.count)
    if late is not None:
        return late
    if (limits.wrap_up or case.job.turns is not None) and _is_metered(case, watch):
        priced = watch.count is not None and watch.count.usage.cost_usd is not None
        limits = limits.model_copy(update={"tokens": None, "usd": None if priced else limits.usd})
    # the computed cost may be too high, so only the gateway refuses calls
    if watch.spent.usage.cost_source == "assumed":
        limits = limits.model_copy(update={"usd": None})
    return verdict.over_limit(limits, watch.spent.usage)


def _is_metered(case: Case, watch: OutputWatch) -> bool:
    return case.has_gateway and watch.count is not None and not watch.count.calls.subscription


def _last_count(case: Case) -> ModelCount | None:
    """End the gateway and return its last count; the agent has ended, so no call will follow."""
    if not case.has_gateway:
        return None
    case.context.gateways.close(case.folder)
    return case.context.gateways.count(case.folder)


def _check_offences(watch: OutputWatch) -> StopNote | None:
    ending = watch.spent.broken.ending
    return None if ending is None else StopNote(StopKind.RULE, ending)


def _tell_wrap_up(case: Case, watch: OutputWatch) -> None:
    """Report the last call once per node agent process; the receipt has it from the gateway's last count."""
    if watch.count is None or not watch.count.wrapped or watch.wrap_up_sent:
        return
    word = Finding(level="warning", text=watch.count.wrapped)
    with contextlib.suppress(DiskFull):
        case.context.journal.write(case.identity, Note(say=(word,), lossy=True))
        watch.wrap_up_sent = True


def _note_delivered(case: Case, watch: OutputWatch) -> None:
    """Report the users' messages that the agent was given; after a restart all are reported again."""
    new = tuple(number for number in watch.spent.heard if number not in watch.told_heard)
    if new:
        with contextlib.suppress(DiskFull):
            case.context.journal.write(case.identity, Note(say=(MessagesHeard(numbers=new),)))
            watch.told_heard += new


def _tell_offences(case: Case, watch: OutputWatch) -> None:
    """Report violations at once, and add them to the receipt whatever the program's end is."""
    new = tuple(word for word in watch.spent.broken.words if word not in case.entry.findings)
    if new:
        words = tuple(Finding(level="warning", text=word) for word in new)
        with contextlib.suppress(DiskFull):  # the violations are reported again at the program's end
            case.context.journal.write(case.identity, Note(findings=new, say=words))


def _look_for_signs(case: Case, watch: OutputWatch) -> None:
    """Record signs of life for the heartbeat. An interactive run that waits for a message shows none."""
    context, now = case.context, case.context.clock.mono_ms()
    watch.waits_for_message = case.job.turns is not None and is_waiting(watch.spent)
    if watch.waits_for_message:
        watch.signs = SignsOfLife()
    elif watch.signs.is_due(now, context.intervals.signs_ms):
        seen = context.runner.activity(case.work, (case.folder / OUT, case.folder / ERR))
        watch.signs.look(seen, watch.count, now, context.clock.wall_ms())


def _agent_in(record: spool.ExitRecord) -> spool.StepRecord | None:
    return next((step for step in record.steps if step.kind is spool.StepKind.AGENT), None)


def _lived_ms(case: Case) -> int:
    """Return how long the agent ran if its end was not recorded: at most the time limit, because the wall
    clock may have been set."""
    outputs = (case.folder / OUT, case.folder / ERR)
    lived = case.context.runner.lived(case.work, outputs, watch_of(case).seen_wall_ms)
    return min(lived, case.job.limits.wall_ms)


def _end_phase(case: Case, record: spool.ExitRecord) -> Turn:
    agent = _agent_in(record)
    ran = agent is not None and agent.exec_error is None
    reported = (
        watch_of(case).finish(case.context.runner, _end_of(agent)) if agent is not None and ran else None
    )
    reported = None if reported is None else _with_session_kept(case, reported)
    _note_delivered(case, watch_of(case))
    _tell_offences(case, watch_of(case))
    count = _last_count(case)
    fault = verdict.gateway_fault(
        verdict.work_fault(record, reported, case.entry.stop, case.limits), reported, count
    )
    _end_turns(case, fault, count)
    return _mark_ended(case, record, fault, reported, count)


def _end_turns(case: Case, fault: verdict.Fault | None, count: ModelCount | None) -> None:
    """Record the end of a turn that has not ended yet."""
    watch = watch_of(case)
    watch.count = count or watch.count
    tell_turns(case, watch, cut_by(fault, watch.offset, watch.spent.usage))


def _cut_off(case: Case, record: spool.ExitRecord) -> Turn:
    """Record an end that happened in an earlier boot: the exit record is durable, but the agent's files may
    be lost.

    Work that the runtime reports is therefore not a result. A limit or a stop request stays the reason.
    """
    agent = _agent_in(record)
    ran = agent is not None and agent.exec_error is None
    reported = watch_of(case).finish(case.context.runner, ExitInfo()) if ran else None
    if reported is not None and case.job.turns is not None:
        reported = _with_session_kept(case, reported)
    fault = verdict.work_fault(record, None, case.entry.stop, case.limits) or verdict.Fault(
        FailureKind.NODE_REBOOTED, CUT_OFF
    )
    count = _last_count(case)
    _end_turns(case, fault, count)
    return _mark_ended(case, record, fault, reported, count)


def _mark_ended(
    case: Case,
    record: spool.ExitRecord,
    fault: verdict.Fault | None,
    reported: ReportedEnd | None,
    count: ModelCount | None,
) -> Turn:
    agent = _agent_in(record)
    status = verdict.cannot_run(fault, agent, case.job.argv)
    if status is not None:
        # the folders that were searched for programs
        plan = case.context.runner.planned(case.work)
        path_of = "not known" if plan is None else plan.env.get("PATH", "")
        fault = verdict.own_fault(case.job.argv or (), status, case.context.node.name, path_of)
    before = case.record(case.setup) if case.job.setup else None
    fault, data = take_outputs(case, fault, has_worked=agent is not None)
    data |= {"began": (before or record).began_wall_ms, "ended": record.ended_wall_ms}
    if agent is not None:
        data |= {"code": agent.exit_code if status is None else status, "signal": agent.signal}
    swept = record.swept + (before.swept if before is not None else 0)
    if swept:
        data["findings"] = [*data.get("findings", ()), f"{swept} processes were left behind and killed"]
    ms = agent.ended_mono_ms - agent.began_mono_ms if agent is not None else 0
    return case.mark(
        Mark.EXITED, fault, _with_reported(case, _with_answer(case, data, reported), reported, ms, count)
    )


def _with_session_kept(case: Case, reported: ReportedEnd) -> ReportedEnd:
    """Store the session before the files of its login are removed, which removes whole folders."""
    why = case.context.sessions.keep(case.job, reported.session, reported.spent.usage)
    return replace(reported, findings=(*reported.findings, why)) if why else reported


def _end_of(agent: spool.StepRecord) -> ExitInfo:
    return ExitInfo(agent.exit_code, agent.signal, EndedBy(agent.ended_by.value))


def _with_reported(
    case: Case, data: ExitedData, reported: ReportedEnd | None, ms: int, count: ModelCount | None
) -> ExitedData:
    if reported is None:  # the agent never ran, so it cost nothing
        return {**data, **NEVER_RAN}
    claim = reported.spent.usage.model_copy(update={"agent_ms": max(0, ms)})
    usage, noted = (claim, ()) if count is None else (count.over(claim), count.findings(claim))
    findings, _ = limit_names([*data.get("findings", ()), *reported.findings, *noted])
    if count is not None:
        data = {**data, "calls": count.calls.model_dump(mode="json")}
        data = data if count.calls.subscription else {**data, "claimed": usage_to_json(claim)}
    return {
        **data,
        "answer": clipped_answer(reported.answer),
        # A program may name its session before it has anything to store.
        "session": reported.session if case.context.sessions.has(case.job, reported.session) else None,
        "model": reported.model,
        "usage": usage_to_json(usage),
        "tools": dict(reported.spent.tool_calls),
        "findings": findings,
        "rests": reported.spent.rests,
        "resets_ms": pause_ms(reported.resets, case.context.clock.wall_ms()),
    }


def _with_answer(case: Case, data: ExitedData, reported: ReportedEnd | None) -> ExitedData:
    """Return the data with the agent's answer; an answer too long for a receipt becomes a separate output."""
    if reported is None or len(reported.answer) <= ANSWER_CHARS:
        return data
    try:
        case.context.runner.keep(case.folder / ANSWER, reported.answer.encode("utf-8", "replace"))
    except spool.RunnerError as failed:
        why = f"only the end of the agent's answer is kept: {failed}"
        return {**data, "findings": [*data.get("findings", ()), why]}
    return data


def clipped_answer(answer: str) -> str:
    """Return the part of an answer that fits into a receipt: the end, which matters most."""
    return answer if len(answer) <= ANSWER_CHARS else f"…{answer[1 - ANSWER_CHARS :]}"


def _end_lost_phase(case: Case, fault: verdict.Fault) -> Turn:
    """Handle a phase without an exit record: kill its processes until none is left, then read its files."""
    swept = case.context.runner.sweep(str(case.identity))
    reported = watch_of(case).finish(case.context.runner, ExitInfo())
    if fault.kind is not FailureKind.NODE_REBOOTED or case.job.turns is not None:
        # after a reboot only interactive sessions are complete, because they are synced
        reported = _with_session_kept(case, reported)
    _note_delivered(case, watch_of(case))
    count = _last_count(case)
    _end_turns(case, fault, count)
    _, data = take_outputs(case, fault)
    findings = [f"{swept} processes were left behind and killed"] if swept else []
    data["findings"] = [*data.get("findings", ()), *findings]
    return case.mark(Mark.EXITED, fault, _with_reported(case, data, reported, _lived_ms(case), count))
