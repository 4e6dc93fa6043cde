"""Finishes an attempt after `exited`: commits, runs gates, pushes, sends the receipt, cleans up."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, assert_never

from node_agent.attempt import verdict
from node_agent.attempt.claims import MAX_NAMES, ClaimTime, claims_of, limit_names, such_as
from node_agent.attempt.context import Case, Finished, Progressed, Turn, Wait
from node_agent.attempt.gate_reports import gate_reports
from node_agent.attempt.plans import (
    ANEW,
    BASELINE,
    GATES_LOG,
    JUDGED,
    KEPT,
    RESTORED,
    SCORE,
    STREAMS,
    again_plan,
    gates_plan,
    setup_plan,
)
from node_agent.attempt.ports import AttemptResult, StepFailed
from node_agent.attempt.records import ChangeKind, CommittedData, GatedData, Note, PushedData
from node_agent.attempt.starting import NOT_CACHED, add_last_lines, runner_fault
from node_agent.attempt.working import CUT_OFF, end_process
from node_agent.policy.judging import list_breaches
from node_agent.shim import spool
from node_agent.wire import keys
from node_agent.wire.event import Finding
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import Mark
from node_agent.wire.job import Gate
from node_agent.wire.policy import ActionClass
from node_agent.wire.receipt import GateResult, Receipt, receipt_of
from node_agent.wire.signing import parse_envelope, parse_message


def judged_by_rules(
    case: Case, result: AttemptResult, fault: verdict.Fault | None
) -> tuple[verdict.Fault | None, tuple[str, ...]]:
    """Check the result against policy and owner's rules; return the failure, and all violations as text."""
    policy, owner = case.job.policy, case.context.ceiling()
    broken = list_breaches(result.changes, (*policy.paths, *owner.rules.paths))
    if owner.closed and result.changes:
        broken = (f"the rules cannot be checked: {owner.closed}", *broken)
    read_only = case.job.agent.read_only or ActionClass.FILE_WRITE not in policy.allowed
    changed = verdict.change_fault(read_only, result.kind, result.files_changed, fault)
    return verdict.rules_fault(broken, fault) if changed is fault else changed, broken


AS_FOUND = "the saved files may be empty or partly outdated"


def commit(case: Case) -> Turn:
    """exited → committed. The agent's files are saved, even if the attempt failed."""
    fault = case.fault
    if Mark.PREPARED not in case.entry.data and not case.entry.damaged:
        return case.mark(Mark.COMMITTED, fault, CommittedData(kind="none"))
    if case.job.setup and case.entry.baseline is None and not case.entry.damaged:
        kind: ChangeKind = "empty" if case.job.workspace.kind == "git" else "none"
        # the agent never ran, so it made no change
        return case.mark(Mark.COMMITTED, fault, CommittedData(kind=kind))
    if case.was_prepared_before and isinstance(case.context.runner.look(case.work), spool.NotStarted):
        # the power failure may have damaged the agent's files
        return case.mark(Mark.COMMITTED, fault, CommittedData(kind="none"))
    if case.was_cut_off:
        return _cut_off_commit(case, fault or verdict.Fault(FailureKind.NODE_REBOOTED, CUT_OFF))
    try:
        result = case.context.workspaces.commit(
            case.identity, case.job.workspace, case.stamp, case.entry.baseline
        )
    except StepFailed as failed:
        return _not_committed(case, fault or verdict.Fault(failed.kind, str(failed)), failed)
    clean, exposed = case.cleaner(), _find_exposed(case, result)
    names, _ = limit_names(map(clean, result.files_changed[:MAX_NAMES]))
    judged, broken = judged_by_rules(case, result, fault)
    if judged is not None:
        judged = replace(judged, reason=clean(judged.reason))
    if result.missing and judged is None:
        place = case.context.workspaces.place_aside(case.identity)
        words = f"{clean('; '.join(result.missing))}; all files are in {place}"
        judged = verdict.Fault(FailureKind.INCOMPLETE_RESULT, words[:1000])
    findings, _ = limit_names(map(clean, (*broken, *result.warnings)))
    findings += exposed.findings
    left_out = len(result.files_changed) - len(names)
    if left_out:
        findings.append(f"{left_out} more files changed than are listed here")
    data = CommittedData(
        kind=result.kind, commit=result.commit, files=names, findings=findings, exposed=exposed.pairs
    )
    if result.missing:
        data["incomplete"] = True
    return case.mark(Mark.COMMITTED, judged, data)


PASSING = "passing"
_RESULT = ("the result", "of the result")


@dataclass(frozen=True, slots=True)
class _Exposed:
    """The secrets that the result contains, by name and as sentences; never their values.

    Each pair is a secret's name and a file; a third element means that only an intermediate commit has it. A
    pair without a name has the reason why the search failed; landing then needs approval as for a secret.
    """

    pairs: list[list[str]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def _find_exposed(case: Case, result: AttemptResult) -> _Exposed:
    hidden, clean = case.context.runtimes.hidden(case.job), case.cleaner()
    made = _Exposed()
    if result.commit is None:
        return made
    at, known = (case.identity, case.job.workspace, result.commit), set[tuple[str, str]]()
    for mark in ([], [PASSING]):
        what, where = ("the intermediate commits", "in an intermediate commit") if mark else _RESULT
        try:
            found = case.context.workspaces.exposed(*at, hidden, on_the_way=bool(mark))
        except StepFailed as failed:
            words = clean(f"{what} could not be searched for secrets: {failed}")[:1000]
            made.pairs.append(["", words, *mark])
            made.findings.append(words)
            continue
        for name, file in found:
            if (name, file) not in known:
                made.pairs.append([name, clean(file), *mark])
                made.findings.append(f"the value of {name}, a secret, is in {clean(file)} {where}")
        known.update(found)
    return made


def _not_committed(case: Case, fault: verdict.Fault, failed: StepFailed) -> Turn:
    """Save the agent's files, except if they filled the disk; then they are removed with the checkout."""
    full = failed.kind is FailureKind.DISK_FULL
    kept = ("the agent's files are not kept: the disk is full",) if full else salvage_files(case)
    findings = [f"no result commit could be made: {failed}"[:1000], *kept]
    words = [Finding(level="error", text=text) for text in findings]
    return case.mark(Mark.COMMITTED, fault, CommittedData(kind="none", findings=findings), *words)


def _cut_off_commit(case: Case, fault: verdict.Fault) -> Turn:
    """Save the files without a commit, because a power failure may have emptied some of them."""
    findings = [f"no result commit was made: {CUT_OFF}; {AS_FOUND}", *salvage_files(case)]
    words = [Finding(level="error", text=text) for text in findings]
    return case.mark(Mark.COMMITTED, fault, CommittedData(kind="none", findings=findings), *words)


def salvage_files(case: Case) -> tuple[str, ...]:
    """Save the files that can be saved; return sentences for a user about where they are, or why not."""
    try:
        return case.context.workspaces.salvage(
            case.identity, case.job.workspace, case.stamp, case.entry.baseline
        )
    except (StepFailed, OSError) as failed:
        return (f"the agent's files could not be saved: {failed}"[:1000],)


MOST_DIGITS = 18
"""The maximum number of digits of a score before the decimal point, and after it."""
LAST_OF_OUTPUT, MOST_SEARCHED = 4_096, 65_536
"""The number of bytes that are read from the end of an output, and of a failed gate's output."""
MOST_SAID = 200
"""The maximum length in characters of a gate's error line in the reason of a failure."""


class NoScoreError(Exception):
    """The reason why there is no score."""


def score_of(record: spool.ExitRecord, gates: int, output: bytes) -> str:
    """Return the score as text. `gates`: the number of steps before the score's. Raises NoScoreError."""
    step = next((one for one in record.steps if one.index == gates), None)
    if step is None:
        raise NoScoreError("the command was not run")
    if not step.ok:
        ended = f"signal {step.signal}" if step.signal is not None else f"exit {step.exit_code}"
        raise NoScoreError(f"the command failed: {ended}")
    lines = output[-LAST_OF_OUTPUT:].decode("utf-8", "replace").strip().splitlines()
    if not lines:
        raise NoScoreError("the command printed nothing")
    return written_out(_parse_number(lines[-1].strip()), lines[-1])


def _parse_number(line: str) -> Any:
    try:
        return json.loads(line, parse_float=Decimal, parse_int=Decimal, parse_constant=lambda _: None)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def written_out(number: Any, line: str) -> str:
    """Return the number as text. Raises NoScoreError if it is not a number, too large or too precise."""
    if not isinstance(number, Decimal):
        raise NoScoreError(f"the last line of the output is not a JSON number: {line.strip()[:100]!r}")
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or exponent < -MOST_DIGITS or len(digits) + exponent > MOST_DIGITS:
        raise NoScoreError(f"a score may have at most {MOST_DIGITS} digits before and after the point")
    return f"{number:f}"


def changed_by_gates(case: Case) -> list[str]:
    if case.result is None:
        return []
    noted = _read_baseline(case)
    baseline = case.entry.baseline if not noted else None if noted == NO_BASELINE else noted
    try:
        changed = case.context.workspaces.changed_since(case.identity, case.result, baseline)
    except StepFailed as failed:
        return [f"the changes that the gates made could not be read: {failed}"[:1000]]
    names, more = limit_names(name for name in changed if name not in case.job.reports)
    listed = such_as(list(map(case.cleaner(), names)), more)
    return [f"gates changed uncommitted files: {listed}"] if names else []


def read_reports(case: Case) -> list[dict[str, Any]]:
    """Return the gates' reports. They do not affect the verdict, which depends only on exit statuses."""
    files, top, found, trouble = case.job.reports, "", dict[str, bytes](), ""
    try:
        top, found = case.context.workspaces.read_reports(case.identity, files)
    except StepFailed as failed:
        trouble = f"the files could not be read: {failed}"
    reports = gate_reports(files, found, top, case.cleaner(), trouble)
    return [one.model_dump(mode="json") for one in reports]


def gate(case: Case) -> Turn:
    """committed → gated. Each phase of the gates is started once."""
    fault, stop, runner = case.fault, case.entry.stop, case.context.runner
    if not case.is_gated(fault):
        return case.mark(Mark.GATED, fault)
    if judged := runner.tail(case.folder / JUDGED, 0, MOST_JUDGED):
        return repeat_gate(case, json.loads(judged))
    phase = case.gates
    if case.job.setup and isinstance(runner.look(phase), spool.NotStarted):
        phase = case.anew
    seen = runner.look(phase)
    match seen:
        case spool.NotStarted():
            return _start_gates(case) if stop is None else case.mark(Mark.GATED, verdict.stop_fault(stop))
        case spool.Running():
            if stop is not None:
                end_process(case, phase, stop.reason)
            return Wait("gates are running", case.context.intervals.look_ms, phase)
        case spool.Ended(record) if phase == case.anew:
            fault = verdict.setup_fault(record, stop, case.limits)
            if fault is None:
                return _start_gates(case, is_set_up=True)
            return case.mark(Mark.GATED, verdict.fault_on_result(add_last_lines(case, fault)))
        case spool.Ended(record):
            return _judge_gates(case, record)
        case spool.Vanished():
            runner.sweep(str(case.identity))
            return case.mark(Mark.GATED, verdict.vanished_fault(seen, stop))
        case _:
            assert_never(seen)


def _start_gates(case: Case, is_set_up: bool = False) -> Turn:
    """Start the gates in a new checkout of the result, or first set-up there, unless that has ended."""
    work = case.context.runner.planned(case.work)
    if work is None:
        return case.mark(
            Mark.GATED, verdict.Fault(FailureKind.NODE_INTERNAL, "the plan of the agent's phase is missing")
        )
    if case.was_cut_off:  # the commit is complete, but the files that the gates would check may not be
        return case.mark(Mark.GATED, verdict.Fault(FailureKind.NODE_REBOOTED, CUT_OFF))
    left, phase = case.time_left(), case.gates
    if left == 0:
        return case.mark(
            Mark.GATED,
            verdict.Fault(
                FailureKind.GATE_NOT_JUDGED,
                f"no time was left for the gates {verdict.LIMIT_KEYS[spool.StepEndedBy.WALL]}",
            ),
        )
    try:
        plan = gates_plan(case.job, work, case.folder, case.context.intervals, left)
        case.context.workspaces.take_back(case.identity)
        if not is_set_up and _needs_set_up(case, plan.env):
            phase, plan = (
                case.anew,
                setup_plan(case.job, replace(work, limits=case.limits), case.folder, ANEW),
            )
        else:
            case.context.runner.keep(case.folder / BASELINE, (_record_state(case) or NO_BASELINE).encode())
        case.context.workspaces.clear_reports(case.identity, case.job.reports)
        case.context.runner.start(phase, case.context.runner.planned(phase) or case.enclose(plan, work))
    except StepFailed as failed:
        return case.mark(Mark.GATED, verdict.Fault(failed.kind, str(failed)))
    except spool.RunnerError as failed:
        case.context.runner.stop(phase, "the start failed")
        return case.mark(Mark.GATED, runner_fault(failed))
    return Wait("gates are running", case.context.intervals.look_ms, phase)


def _record_state(case: Case) -> str | None:
    """Record the state of the gates' checkout after set-up, whose files no gate has changed."""
    if case.result is None or not case.job.setup or not case.has_agent:
        return case.entry.baseline
    at = case.job.workspace.model_copy(update={"snapshot": case.result})
    return case.context.workspaces.baseline(case.identity, at)


def _needs_set_up(case: Case, env: Mapping[str, str]) -> bool:
    """Make the checkout for the gates; return whether set-up must run there. A run without an agent, such as
    that of a landing, has such a checkout."""
    job, commit = case.job, case.result
    if commit is None or not case.has_agent:
        return False
    copied = case.context.runtimes.open_copied(job)
    ready = case.context.workspaces.set_apart(job, commit, copied, case.folder / RESTORED, env)
    if not job.setup or ready.restored:
        return False
    word = Finding(level="info", text=f"for the gates: {ready.told or NOT_CACHED}")
    case.context.journal.write(case.identity, Note(say=(word,)))
    return True


NO_BASELINE = "none"


def _read_baseline(case: Case) -> str:
    """Return the name of the state of the gates' checkout; empty if an older node agent began the gates."""
    return case.context.runner.tail(case.folder / BASELINE, 0, LAST_OF_OUTPUT).decode()


def _judge_gates(case: Case, record: spool.ExitRecord) -> Turn:
    results = gate_results(case.job.gates, record)
    findings = changed_by_gates(case)
    if case.job.reads and case.result is not None:
        findings.append(f"the gates judged what the agent left at {', '.join(case.job.reads)}")
    data = GatedData(gates=[one.model_dump(mode="json") for one in results], findings=findings)
    if case.result is not None and _read_baseline(case):
        data["on"] = "result"
    if case.job.score is not None:
        data |= _read_score(case, record, findings)
    if case.job.reports:
        data["reports"] = read_reports(case)
    words = [Finding(level="warning", text=text) for text in findings]
    fault = verdict.gate_fault(record, results, case.entry.stop, case.limits)
    if fault is None or fault.kind not in (FailureKind.GATE_FAILED, FailureKind.GATE_NOT_RUNNABLE):
        return case.mark(Mark.GATED, fault, data, *words)
    if fault.kind is FailureKind.GATE_FAILED and (note := _find_error(case, record.steps)):
        fault = replace(fault, reason=f"{fault.reason}: {note}")
    named = [n for n, one in enumerate(results) if not one.passed and f"gate {one.name}" in fault.reason]
    if named and (beside := list_beside(case)):
        left = {"fault": verdict.fault_to_json(fault), "data": data, "beside": beside, "number": named[0]}
        with contextlib.suppress(spool.RunnerError):  # without space it is not repeated
            case.context.runner.keep(case.folder / JUDGED, json.dumps(left).encode())
            return Progressed()
    return case.mark(Mark.GATED, fault, data, *words)


def list_beside(case: Case) -> list[str]:
    """Return what the agent left outside of the result, and the gates do not have."""
    if case.result is None or not case.has_agent:
        return []
    with contextlib.suppress(StepFailed):
        names, _ = limit_names(case.context.workspaces.beside(case.identity, case.result))
        return list(map(case.cleaner(), names))
    return []


MOST_JUDGED = 1 << 26


def repeat_gate(case: Case, judged: Mapping[str, Any]) -> Turn:
    """Run the failed gate once more among the files that the agent left, to tell whether it lacks these."""
    runner, stop, fault = case.context.runner, case.entry.stop, verdict.fault_from_json(judged)
    seen, work, left = runner.look(case.again), runner.planned(case.work), case.time_left()
    match seen:
        case spool.NotStarted() if stop is None and work is not None and left and not case.was_cut_off:
            gates = gates_plan(case.job, work, case.folder, case.context.intervals, left)
            with contextlib.suppress(StepFailed, spool.RunnerError):
                case.context.workspaces.bring_back(case.identity)
                runner.start(case.again, case.enclose(again_plan(gates, judged["number"]), work))
                return Wait("a gate is repeated", case.context.intervals.look_ms, case.again)
            runner.stop(case.again, "the start failed")
        case spool.Running():
            if stop is not None:
                end_process(case, case.again, stop.reason)
            return Wait("a gate is repeated", case.context.intervals.look_ms, case.again)
        case spool.Ended(record) if record.steps and record.steps[0].ok and fault is not None:
            fault = verdict.missing_fault(fault, judged["beside"], such_as(judged["beside"]))
        case _:
            runner.sweep(str(case.identity))
    words = [Finding(level="warning", text=text) for text in judged["data"].get("findings", ())]
    return case.mark(Mark.GATED, fault, judged["data"], *words)


def _find_error(case: Case, steps: Sequence[spool.StepRecord]) -> str:
    """Return the line that says why the first failed gate failed; all gates write to one log, in order."""
    number, failed = next((number, step) for number, step in enumerate(steps) if not step.ok)
    end = sum(step.out_bytes for step in steps[: number + 1])
    size = min(failed.out_bytes, MOST_SEARCHED)
    output = case.context.runner.tail(case.folder / GATES_LOG, end - size, size)
    # a truncated line could contain half of a secret, which the redaction would not find
    if size < failed.out_bytes:
        output = output.partition(b"\n")[2]
    return find_error_line(case.cleaner()(output.decode("utf-8", "replace")))


_NAMED = re.compile(r"\b(?:\w*error(?:\[\w+\])?|\w+exception|fatal|panic):|\bpanicked at\b", re.I)
_WRONG = re.compile(r"\b(?<!\b0 )(?<!\bno )(?:errors?|failed|failures?|fatal)\b", re.I)


def find_error_line(output: str) -> str:
    """Return the first line that names an error, or else that speaks of one, or else the last line."""
    lines = [line.strip()[:MOST_SAID] for line in output.splitlines() if line.strip()]
    found = (line for rule in (_NAMED, _WRONG) for line in lines if rule.search(line))
    return next(found, lines[-1] if lines else "")


def gate_results(gates: tuple[Gate, ...], record: spool.ExitRecord) -> list[GateResult]:
    """Return one result for each gate that ran."""
    return [_gate_result(gates[step.index], step) for step in record.steps if step.index < len(gates)]


def _read_score(case: Case, record: spool.ExitRecord, findings: list[str]) -> GatedData:
    """Return the score, or a finding why there is none: the attempt has not failed, but can win no race."""
    output = case.context.runner.tail(case.folder / SCORE, -LAST_OF_OUTPUT, LAST_OF_OUTPUT)
    try:
        return GatedData(score=score_of(record, len(case.job.gates), output))
    except NoScoreError as why:
        return GatedData(findings=[*findings, case.cleaner()(f"no score: {why}")])


def _gate_result(gate: Gate, step: spool.StepRecord) -> GateResult:
    return GateResult(
        name=gate.name,
        argv=gate.argv,
        passed=step.ok,
        judged=step.ended_by not in verdict.LIMITED,
        exit_code=step.exit_code,
        signal=step.signal if step.ended_by is spool.StepEndedBy.NONE or step.signal else None,
        duration_ms=max(0, step.ended_mono_ms - step.began_mono_ms),
    )


MAYBE_SHORT = "the log may be incomplete: the node was restarted before the log was sent"


def push(case: Case) -> Turn:
    """gated → pushed. LinkDown changes nothing; if the depot refuses the result, only the receipt is sent."""
    fault, commit = case.fault, case.entry.committed.get("commit")
    case.context.workspaces.bring_back(case.identity)
    findings: list[str] = []
    delivered = False
    if commit is not None:
        case.context.journal.settle(case.identity)  # the commit does not change after this point
        try:
            case.context.workspaces.push(case.identity, case.job.workspace, commit)
            delivered = True
        except StepFailed as failed:
            fault = fault or verdict.Fault(failed.kind, f"the depot refused the result: {failed}")
            findings = [f"the depot refused commit {commit}: {failed}"[:1000]]
            findings += salvage_files(case)
    blobs, lost = upload_outputs(case)
    findings += lost
    if blobs and case.was_cut_off:
        findings.append(MAYBE_SHORT)
    data = PushedData(blobs=blobs, delivered=delivered, findings=findings)
    return case.mark(Mark.PUSHED, fault, data, *(Finding(level="error", text=text) for text in findings))


def upload_outputs(case: Case) -> tuple[list[dict[str, Any]], list[str]]:
    """Send every existing output; return the sent ones, and a message for each one that the depot refused."""
    blobs, lost = [], []
    for name in STREAMS:
        path = case.folder / name
        if not case.context.runner.tail(path, 0, 1):
            continue
        case.context.journal.settle(case.identity)
        try:
            blobs.append(case.context.depot.upload(case.identity, name, path).model_dump(mode="json"))
        except StepFailed as failed:
            lost.append(f"the depot refused {name}: {failed}"[:1000])
    return blobs, lost


def seal(case: Case) -> Turn:
    """pushed → receipted. The receipt is signed and on disk before it is sent."""
    context = case.context
    now = ClaimTime(context.clock.wall_ms(), context.now(), context.journal.last_receipt())
    claims = claims_of(context.node, case.job, case.entry, case.prompt_digest(), now)
    envelope = receipt_of(claims).signed(context.key)
    context.journal.seal(case.identity, envelope.model_dump_json(), envelope.digest(), now.previous)
    # if another receipt was sealed meanwhile, the next pass seals with the new predecessor
    return Progressed()


def publish(case: Case) -> Turn:
    """receipted: send the receipt at growing intervals until `control` marks the coordinator's answer."""
    context, now = case.context, case.context.clock.mono_ms()
    if case.resend:
        _send_again(case)
        case.resend, case.sent_ms, case.backoff_ms = False, None, context.intervals.publish_first_ms
    if case.sent_ms is None or now - case.sent_ms >= case.backoff_ms:
        receipt = context.journal.receipt(case.identity)
        if receipt is None:
            return Wait("the sealed receipt cannot be read", context.intervals.publish_most_ms)
        context.deliver(receipt)
        if case.sent_ms is not None:
            case.backoff_ms = min(case.backoff_ms * 2, context.intervals.publish_most_ms)
        case.sent_ms = now
    return Wait("the receipt is not acknowledged yet", max(1, case.sent_ms + case.backoff_ms - now))


def send_result_again(case: Case) -> None:
    """Send the commit, the outputs and the receipt of an accepted attempt once more, if they are kept: the
    coordinator's ledger was restored. LinkDown."""
    case.resend = False
    receipt = case.context.journal.receipt(case.identity)
    if receipt is None or not case.context.workspaces.has_result(case.identity):
        return
    claims = parse_message(Receipt, parse_envelope(receipt).body()).predicate
    if claims.commit is not None:
        with contextlib.suppress(StepFailed):
            case.context.workspaces.push(case.identity, case.job.workspace, claims.commit)
    upload_outputs(case)
    case.context.deliver(receipt)


def _send_again(case: Case) -> None:
    """Send again everything that the receipt names, with the commit: the coordinator lacks some of it."""
    commit = case.entry.committed.get("commit")
    if commit is not None and case.entry.pushed.get("delivered"):
        # the receipt is valid; the coordinator decides with the outputs that it has
        with contextlib.suppress(StepFailed):
            case.context.workspaces.push(case.identity, case.job.workspace, commit)
    upload_outputs(case)


def clean_up(case: Case) -> Turn:
    """Remove the attempt's files and records, which is allowed only after a final mark."""
    entry, context = case.entry, case.context
    context.journal.settle(case.identity)
    why = entry.newest.get("why", "")
    # the coordinator closes each acknowledged job itself, except the job of an orphaned attempt
    if entry.mark is not Mark.ACKNOWLEDGED or why:
        ok = entry.mark is not Mark.REFUSED
        context.uplink.settle_job(keys.job_id(context.node.tag, case.identity), ok, why)
    context.gateways.close(case.folder)
    for phase in case.phases:
        context.runner.forget(phase)
    if entry.mark is not Mark.REJECTED:
        if entry.committed.get("incomplete"):
            context.workspaces.put_aside(case.identity)
        is_accepted = entry.mark is Mark.ACKNOWLEDGED and not why
        if is_accepted:  # a coordinator whose ledger is restored from an older copy needs it once more
            context.workspaces.keep_result(case.identity)
        context.workspaces.remove(case.identity, case.job.workspace)
        if not is_accepted:
            context.journal.drop(case.identity, KEPT)
    context.journal.write(case.identity, Note(cleaned=True, lazy=True))
    return Finished()
