"""`pancode receipt`: shows, verifies and exports the signed evidence of what a run did."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from typer import Argument

from pancode.conversation.answers import SESSION_VERDICT
from pancode.interfaces.cli.parameters import Cursor, Face, Json, Whole, completions, fetch_page, option, verb
from pancode.interfaces.cli.terminal import RowColumns, color_state, escape_line, escape_lines, format_rows
from pancode.kernel.errors import ApiError, ExitCode, UsageError
from pancode.kernel.names import LAST
from pancode.runs.answers import CHAIN, EXPORT, RECEIPT, RECEIPTS, CheckShape, ReceiptRow, VerdictShape
from pancode.runs.commands.named_runs import AnyRun, find_run, is_workflow

_STATUS = {"PASS": ExitCode.DONE, "NOT_FOUND": ExitCode.NOT_FOUND}


@verb("receipt ls", "")
def ls(
    *,
    number: Annotated[int, option("Show at most this many runs.", min=1, max=10_000)] = 20,
    cursor: Cursor = None,
    whole: Whole = False,
    face: Json,
) -> None:
    """List the receipts of the newest runs."""
    answer = fetch_page(face.client(), RECEIPTS, "receipts", number, cursor, whole=whole)
    face.show(answer, lambda: format_rows(answer["receipts"], _COLUMNS, "no receipts yet"))


def _format_state(row: ReceiptRow) -> str:
    if row["rejected"]:
        return f"rejected: {row['rejected']}"
    return "orphan" if row["orphan"] else "accepted"


_COLUMNS: RowColumns[ReceiptRow] = {
    **{"RUN": "run", "ATTEMPT": lambda row: f"{row['attempt']}.{row['fence']}", "NODE": "node"},
    **{"OUTCOME": "outcome", "DIGEST": lambda row: row["digest"][:12]},
    **{"STATE": _format_state, "AT": "stored_at"},
}
_CHAIN = "Check whether a receipt of this node is missing."


@verb("receipt show", "", "last > receipt.json")
def show(*, run: AnyRun = LAST, face: Json) -> None:
    """Print the receipt's claims, unchecked (see `verify`)."""
    _must_be_run(run)
    client = face.client()
    answer = client.get(RECEIPT.at(find_run(client, run)))
    face.show(answer, lambda: json.dumps(answer["statement"], indent=2, ensure_ascii=True) + "\n")


@verb("receipt verify", "last", "w-zd43pq", "r.json --keys k.json", "--chain gpubox")
def verify(
    *,
    run: Annotated[str | None, Argument(autocompletion=completions.complete_runs)] = None,
    chain: Annotated[str | None, option(_CHAIN, "NODE", complete=completions.nodes)] = None,
    keys: Annotated[
        Path | None, option("Use these exported public keys and no coordinator.", exists=True, dir_okay=False)
    ] = None,
    face: Json,
) -> int:
    """Verify a receipt: PASS, TAMPERED, UNSIGNED, UNKNOWN_KEY or NOT_FOUND, with each check.

    RUN defaults to the last run. If it is a run of a session, the receipts and the chain of the session's
    interactive runs are verified; if it is an exported file, only that file and the --keys are read. With
    --chain the receipts of a node are compared with each other: PASS, or BROKEN if one is missing, names a
    nonexistent receipt, or two follow the same one.
    """
    if chain is not None and (run is not None or keys is not None):
        fix = f"pancode receipt verify --chain {chain}"
        raise UsageError("--chain cannot be combined with RUN or --keys", fix=fix)
    answer = _get_verdict(face, run or LAST, keys) if chain is None else face.get(CHAIN.at(chain))
    face.show_result(answer, format_verdict)
    return _STATUS.get(answer["verdict"], ExitCode.SIGNATURE)


def _get_verdict(face: Face, run: str, keys: Path | None) -> VerdictShape:
    if keys is not None or set("/.") & set(run) or Path(run).is_file():  # An id contains no slash or dot.
        from pancode.runs.receipts.offline_verification import verify_file

        return verify_file(Path(run), keys)
    _must_be_run(run)
    try:
        return face.get(SESSION_VERDICT.at(run))  # This route accepts any run, also one outside of a session.
    except ApiError as error:
        if error.exit_code is not ExitCode.NOT_FOUND:
            raise
        checks: list[CheckShape] = [{"what": "run", "ok": False, "detail": f"{error}. {error.why}".strip()}]
        return {"run": run, "verdict": "NOT_FOUND", "checks": checks}


def _must_be_run(name: str) -> None:
    """Raise UsageError for a workflow, which has no receipt of its own."""
    if is_workflow(name):
        raise UsageError(
            f"{name} is a workflow, and receipts are of runs",
            fix=f"see the runs of its steps: pancode workflow show {name}",
        )


def format_verdict(answer: VerdictShape) -> str:
    """Return the verdict on a receipt, with each check."""
    checks = [f"  {'ok ' if c['ok'] else 'NO '} {c['what']}: {c['detail']}" for c in answer["checks"]]
    return f"{color_state(answer['verdict'])}  {escape_line(answer['run'])}\n" + escape_lines(checks or [""])


@verb("receipt export", "last > r.json", "> keys.json", "last --dsse > r.dsse.json")
def export(
    *,
    run: Annotated[str | None, Argument(autocompletion=completions.complete_runs)] = None,
    dsse: Annotated[bool, option("Print only the DSSE envelope, for other tools.")] = False,
    face: Json,
) -> None:
    """Print a receipt with the public keys, as a file to verify anywhere; without RUN, only the keys."""
    if dsse and run is None:
        raise UsageError("RUN is required", fix="pancode receipt export last --dsse")
    answer = face.get(EXPORT, run=run)
    shown = answer["receipt"] if dsse else answer
    sys.stdout.write(json.dumps(shown, indent=None if face.as_json else 2) + "\n")
