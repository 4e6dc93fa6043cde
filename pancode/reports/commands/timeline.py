"""`pancode why` and `audit`: the timeline of a run, and what happened in the fleet."""

from __future__ import annotations

import json
from typing import Annotated, Any

from typer import Argument

from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import Face
from pancode.interfaces.cli.parameters import Cursor, Json, Run, Whole, fetch_page, option
from pancode.interfaces.cli.terminal import Columns, escape_line, format_rows
from pancode.kernel.errors import ExitCode
from pancode.reports.answers import AUDIT, AUDIT_VERDICT, WHY, AuditRow, WhyShape

app = Commands()


@app.verb("why", "pancode why last")
def why(run: Run, face: Json) -> None:
    """Show each gate, placement, wait, retry and settlement of this run, in words."""
    answer = face.client().get(WHY.at(run))
    face.show(answer, lambda: _story(answer))


def _story(answer: WhyShape) -> str:
    columns: Columns = {"AT": "at", "KIND": "kind", "WHAT": "what", "VERDICT": "verdict", "DETAIL": "detail"}
    return f"{answer['run']}  {escape_line(answer['now'])}\n" + format_rows(answer["decisions"], columns)


@app.verb("audit", "pancode audit error", "pancode audit run:last", "pancode audit verify")
def audit(
    *,
    about: Annotated[str | None, Argument()] = None,
    domain: Annotated[str | None, option("Show only this domain.", "DOMAIN")] = None,
    level: Annotated[str | None, option("info, warning or error.", "LEVEL")] = None,
    error: Annotated[bool, option("The same as --level error.", "--error")] = False,
    by: Annotated[str | None, option("Show only entries of this user.", "USER")] = None,
    number: Annotated[int, option("Show at most this many rows.", "-n", "--number", min=1, max=10_000)] = 50,
    cursor: Cursor = None,
    whole: Whole = False,
    face: Json,
) -> int:
    """Show what happened and who did it, newest first. Filters together narrow it down.

    ABOUT: a domain (budget, config, dispatch, fleet, land, users, receipt, schedule, trust), a level
    (info, warning, error) or run:RUN, which is all of that run. `dispatch` is the life of runs: queued,
    refused, started, tried again, stopped, ended. `pancode audit verify` checks that no entry was changed or
    taken out: each has the digest of the one before it, and every twentieth digest is signed with the fleet's
    key.
    """
    if about == "verify":
        return _verify(face)
    answer = fetch_page(
        face.client(),
        AUDIT,
        "audit",
        number,
        cursor,
        whole=whole,
        about=about,
        domain=domain,
        level="error" if error else level,
        by=by,
    )
    face.show(answer, lambda: _entries(answer["audit"]))
    return ExitCode.DONE


def _verify(face: Face) -> int:
    answer = face.client().get(AUDIT_VERDICT)
    passed = answer["verdict"] == "PASS"
    words = f"{answer['verdict']}  in order: {answer['entries']:,} of the audit"
    signed = f", signed up to entry {answer['anchored']:,}" if answer["anchored"] else ", no entry is signed"
    newest = f", the newest is {answer['head'][:16]}"
    more = f"{signed}{newest}" if passed else f"; entry {answer['entry']}: {answer['why']}"
    return face.end(ExitCode.DONE if passed else ExitCode.SIGNATURE, answer, lambda: f"{words}{more}\n")


def _entries(entries: list[AuditRow]) -> str:
    columns: Columns = {"AT": "at", "LEVEL": "level", "DOMAIN": "domain", "RUN": "run", "WHAT": "what"}
    return format_rows(entries, {**columns, "DETAIL": lambda one: _detail(one["detail"])}, "nothing")


def _detail(detail: dict[str, Any]) -> str:
    return " ".join(
        f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in detail.items() if v is not None
    )
