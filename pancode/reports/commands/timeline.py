"""`pancode why` and `audit`: the timeline of a run, and entries and events of the fleet."""

from __future__ import annotations

import json
from typing import Annotated

from typer import Argument

from pancode.interfaces.cli.parameters import Cursor, Face, Json, Whole, completions, fetch_page, option, verb
from pancode.interfaces.cli.terminal import RowColumns, escape_line, format_rows
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.names import LAST
from pancode.reports.answers import AUDIT, AUDIT_VERDICT, WHY, AuditRow
from pancode.reports.commands.events import show_events
from pancode.runs.commands.named_runs import AnyRun, find_run


@verb("why", "", "SHOP-12")
def why(*, run: AnyRun = LAST, face: Json) -> None:
    """Show why a run waits or ended as it did: each check, placement, wait, retry and its cost."""
    client = face.client()
    answer = client.get(WHY.at(find_run(client, run)))
    columns = {"AT": "at", "KIND": "kind", "WHAT": "what", "VERDICT": "verdict", "DETAIL": "detail"}
    head = f"{answer['run']}  {escape_line(answer['now'])}\n"
    face.show(answer, lambda: head + format_rows(answer["decisions"], columns))


_NUMBER = "Show at most this many rows (default: 50, or 20 events)."


@verb("audit", "error", "run:last", "--events -f --kind run.ended,node")
def audit(
    *,
    about: Annotated[str | None, Argument()] = None,
    domain: Annotated[str | None, option("Show only entries of this domain.", "DOMAIN")] = None,
    level: Annotated[str | None, option("Show only this level: info, warning or error.", "LEVEL")] = None,
    error: Annotated[bool, option("The same as --level error.")] = False,
    by: Annotated[str | None, option("Show only entries of this user.", "--actor", "USER")] = None,
    since: Annotated[str | None, option("Show only entries since then: 90m, 2h, 2026-11-22.", "T")] = None,
    until: Annotated[str | None, option("Show only entries before then, as for --since.", "T")] = None,
    number: Annotated[int | None, option(_NUMBER, min=0, max=10_000)] = None,
    as_events: Annotated[
        bool, option("Show events instead of audit entries, oldest first, as JSON lines.", "--events")
    ] = False,
    follow: Annotated[bool, option("Follow new entries until Ctrl-C.")] = False,
    run: Annotated[
        str | None, option("With --events: only events of this run.", "R", complete=completions.complete_runs)
    ] = None,
    node: Annotated[str | None, option("With --events: only events of this node.")] = None,
    kind: Annotated[
        str | None, option("With --events: only these kinds, such as run.ended, run, node.", "K,...")
    ] = None,
    cursor: Cursor = None,
    whole: Whole = False,
    face: Json,
) -> int:
    """Show what happened and who did it, newest first. Only entries that match all filters are shown.

    ABOUT: a domain (budget, config, dispatch, fleet, land, users, receipt, schedule, trust), a level (info,
    warning, error) or run:RUN, for all entries of that run. `dispatch` is the life of runs: queued, refused,
    started, tried again, stopped, ended. `pancode audit verify` checks that no entry was changed or removed:
    each contains the digest of the previous one, and every twentieth digest is signed with the fleet's key.
    """
    if (since or until) and (as_events or follow or about == "verify"):
        raise UsageError(
            "--since and --until apply only to lists of audit entries", fix="pancode audit --since 2h"
        )
    if as_events or follow:
        wanted = {"run": run, "node": node, "kind": kind if as_events else "audit"}
        return show_events(face, wanted, 20 if number is None else number, follow)
    if about == "verify":
        return _verify(face)
    level, most = "error" if error else level, 50 if number is None else max(number, 1)
    wanted = {"about": about, "domain": domain, "level": level, "by": by, "since": since, "until": until}
    answer = fetch_page(face.client(), AUDIT, "audit", most, cursor, wanted, whole=whole)
    return face.end(
        ExitCode.DONE, answer, lambda: format_rows(answer["audit"], _AUDIT, "nothing", cut="DETAIL")
    )


def _verify(face: Face) -> int:
    answer = face.get(AUDIT_VERDICT)
    passed = answer["verdict"] == "PASS"
    words = f"{answer['verdict']}  consistent audit entries: {answer['entries']:,}"
    signed = f", signed up to entry {answer['anchored']:,}" if answer["anchored"] else ", no entry is signed"
    newest = f", newest digest {answer['head'][:16]}"
    more = f"{signed}{newest}" if passed else f"; entry {answer['entry']}: {answer['why']}"
    return face.end(ExitCode.DONE if passed else ExitCode.SIGNATURE, answer, lambda: f"{words}{more}\n")


def _format_detail(row: AuditRow) -> str:
    detail = {key: value for key, value in row["detail"].items() if value is not None}
    return " ".join(f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in detail.items())


_AUDIT: RowColumns[AuditRow] = {
    **{"AT": "at", "LEVEL": "level", "DOMAIN": "domain", "RUN": "run", "WHAT": "what"},
    "DETAIL": _format_detail,
}
