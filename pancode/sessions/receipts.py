"""Verifies the receipts of a session's interactive runs, and that each run continues the previous one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from node_agent.wire.receipt import TurnMessage
from node_agent.wire.signing import WireRefusal, parse_envelope
from pancode.conversation.answers import InteractiveRunVerdict, SessionVerdictShape
from pancode.kernel.errors import NotFoundError
from pancode.kernel.records import Lease, Run, RunState
from pancode.runs.answers import CheckShape, ReceiptDetail
from pancode.runs.core import Core
from pancode.runs.facts import Lineage
from pancode.runs.life.jobs import name_of
from pancode.runs.receipts import service as receipts
from pancode.runs.receipts.verification import ReceiptVerdict
from pancode.runs.user_environment import Streams
from pancode.runs.views import find_run, words_of
from pancode.sessions.session import of_run

_BAD = (ReceiptVerdict.TAMPERED, ReceiptVerdict.UNSIGNED, ReceiptVerdict.UNKNOWN_KEY)


def verify_session(core: Core, text: str, streams: Streams) -> SessionVerdictShape:
    """Return one verification result for all interactive runs of the session that any of its runs names; for
    a run without a session, the result for its receipt.

    BROKEN: an interactive run that worked has no receipt or does not continue the previous one, or its
    receipt contains messages that no user sent. A running one has no receipt yet and is listed as such.
    NotFoundError.
    """
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, text)
        session = of_run(tx, run)
    runs = session.runs if session.newest.takes_turns else (run,)
    found = [_make_row(core, one, streams) for one in runs]
    verdicts = list(_check_messages(core, [row["run"] for row in found if row["receipt"] is not None]))
    if len(runs) == 1:
        judged = receipts.verify_run(core, run.id, streams)
        true = judged["verdict"] != ReceiptVerdict.PASS or all(one["ok"] for one in verdicts)
        verdict = judged["verdict"] if true else str(ReceiptVerdict.BROKEN)
        checks = [*judged["checks"], *verdicts]
        return {
            "run": judged["run"],
            "verdict": verdict,
            "checks": checks,
            "interactive_runs": found if run.takes_turns else [],
        }
    checks = [_check_receipt(core, one, row) for one, row in zip(runs, found, strict=True)]
    checks += [*verdicts, *_check_links(core, [row["run"] for row in found if row["receipt"] is not None])]
    bad = next((row["verdict"] for row in found if row["verdict"] in _BAD), None)
    whole = ReceiptVerdict.PASS if all(check["ok"] for check in checks) else ReceiptVerdict.BROKEN
    there = any(row["receipt"] is not None for row in found)
    verdict = bad or (whole if there else ReceiptVerdict.NOT_FOUND)
    return {"run": session.id, "verdict": str(verdict), "checks": checks, "interactive_runs": found}


def _make_row(core: Core, run: Run, streams: Streams) -> InteractiveRunVerdict:
    judged, found = receipts.verify_run(core, run.id, streams), _find_receipt(core, run.id)
    return {
        "run": run.id,
        "state": run.state.value,
        "outcome": None if run.outcome is None else run.outcome.value,
        "receipt": None if found is None else str(found["digest"]),
        "verdict": judged["verdict"],
        "checks": judged["checks"],
    }


def _find_receipt(core: Core, run: str) -> ReceiptDetail | None:
    try:
        return receipts.get_receipt(core, run)
    except (NotFoundError, WireRefusal):
        return None


def _check_receipt(core: Core, run: Run, row: InteractiveRunVerdict) -> CheckShape:
    """Check one interactive run's receipt; a run that has not ended or never started needs none."""
    what = f"the receipt of {run.id} is valid"
    if row["verdict"] != ReceiptVerdict.NOT_FOUND:
        wrong = [f"{one['what']}: {one['detail']}" for one in row["checks"] if not one["ok"]]
        ok = row["verdict"] == ReceiptVerdict.PASS
        return {"what": what, "ok": ok, "detail": "; ".join([row["verdict"], *wrong])}
    if run.state is not RunState.ENDED:
        return {"what": what, "ok": True, "detail": f"no receipt yet: the run is {run.state}"}
    with core.ports.ledger.transaction() as tx:
        begun = [one for one in tx.find(Lease, {"run": run.id}) if one.closed not in receipts.NEVER_RAN]
    words = f"the run ended as {run.outcome}" if begun else "the run never started"
    return {"what": what, "ok": not begun, "detail": f"no receipt: {words}"}


def _check_links(core: Core, runs: Sequence[str]) -> Iterator[CheckShape]:
    """Check, from signed data, that each interactive run started with the previous one's files and a memory
    of this session."""
    left: str | None = None
    lefts: dict[str, str | None] = {}
    for number, run in enumerate(runs):
        found = _find_receipt(core, run)
        with core.ports.ledger.transaction() as tx:
            lease = tx.get(Lease, run, found["fence"]) if found is not None else None
        if found is None or lease is None or found["statement"] is None:
            continue  # The run's own check has already failed.
        job = json.loads(parse_envelope(lease.job).body())
        begins, memory = job["workspace"]["snapshot"], (job["resume"] or {}).get("run")
        if number:
            left = lefts.get(_find_base_run(core, run), left)
            ok = begins == left and (memory is None or memory in runs[:number])
            files = f"its files start at {begins}" if begins else "it has no repository files"
            words = f"{files}, {f'with the memory of {memory}' if memory else 'without a memory'}"
            yield {"what": f"{run} continues from {runs[number - 1]}", "ok": ok, "detail": words}
        left = lefts[run] = found["statement"]["predicate"]["commit"] or begins


def _check_messages(core: Core, runs: Sequence[str]) -> Iterator[CheckShape]:
    """Check that users' messages in the signed turns have the ledger's number, author and text."""
    for name in runs:
        found = _find_receipt(core, name)
        with core.ports.ledger.transaction() as tx:
            run = tx.get(Run, name)
            lease = tx.get(Lease, name, found["fence"]) if found is not None else None
            words = [] if run is None else words_of(tx, run)
        turns = found["statement"]["predicate"]["turns"] if found is not None and found["statement"] else []
        if run is None or lease is None or not turns:
            continue
        job = json.loads(parse_envelope(lease.job).body())
        known = {0: TurnMessage.of(0, (job["turns"] or {}).get("by", ""), job["task"])}
        known |= {one.number: TurnMessage.of(one.number, name_of(one.by), one.text) for one in words}
        signed = [TurnMessage.model_validate(one, strict=False) for turn in turns for one in turn["words"]]
        false = [str(one.number) for one in signed if known.get(one.number) != one]
        others = f"messages {', '.join(false)} differ from those that users sent"
        detail = others if false else f"{len(signed)} of them"
        yield {"what": f"the messages in {name} are those that users sent", "ok": not false, "detail": detail}


def _find_base_run(core: Core, run: str) -> str:
    """Return the run whose files this one started with: the previous run, or a restored checkpoint's."""
    with core.ports.ledger.transaction() as tx:
        found = tx.get(Run, run)
    return "" if found is None else Lineage.of(found).begins
