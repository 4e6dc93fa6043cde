"""`pancode fleet drill`: kills parts of the user's own fleet, and shows that it recovers without loss."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pancode import __version__
from pancode.fleet.answers import FLEET, NODE
from pancode.interfaces.cli.parameters import Face, Json, completions, find_user, many, option, verb
from pancode.interfaces.cli.terminal import RowColumns, escape_line, format_rows, format_table, short_time
from pancode.interfaces.client.client import Client, home_of
from pancode.kernel.errors import ExitCode, UnavailableError, UsageError
from pancode.kernel.formatting import format_seconds
from pancode.kernel.names import not_found

if TYPE_CHECKING:  # this module is loaded for every help, and the model is slow to load
    from pancode.drills.model import DrillReport, DrillRow

_NODE = "Only faults of this node, and of the whole fleet; may be repeated (default: all online nodes)."
_KEY_FILE = "A file with the recovery key or passphrase of your copies; without it nothing is restored."
_VERIFY = "Verify the report in FILE instead, and show it."
_KEYS = "With --verify: use these exported public keys and no coordinator."

_NOTES = {
    "link": "the coordinator itself ended the connection",
    "coordinator": "started again by the drill's next request, or by its service",
}
_HEAD = ("FAULT", "NODE", "INJECTED (UTC)", "NOTICED", "RECOVERED", "LOST", "DOUBLED", "NOTE")


@verb("fleet drill", "--dry-run", "", "--node gpubox --yes", "--verify ~/.pancode/drills/REPORT.json")
def drill(
    *,
    node: Annotated[list[str], many(_NODE, "--node", "NODE", complete=completions.nodes)],
    key_file: Annotated[str | None, option(_KEY_FILE, "FILE")] = None,
    dry_run: Annotated[bool, option("Show what the drill would do, and do nothing.")] = False,
    yes: Annotated[bool, option("Do not ask.", "--yes")] = False,
    verify: Annotated[Path | None, option(_VERIFY, "FILE", exists=True, dir_okay=False)] = None,
    keys: Annotated[Path | None, option(_KEYS, "KEYS", exists=True, dir_okay=False)] = None,
    face: Json,
) -> int:
    """Inject faults into your own idle fleet, and measure when each was noticed and repaired, and what was
    lost.

    The drill uses only its own short shell runs, which call no model. It is refused while other work is
    running or queued. The report is signed with the coordinator's key. The exit status is 0 only if
    everything recovered, no run was lost, and no run had its effect twice."""
    # Libraries for SSH and cryptography are imported only when needed.
    from node_agent.wire.clock import SystemClock, SystemIds
    from pancode.drills.commands.drilled_fleet import (
        COPIES,
        FOLDER,
        SCRATCH,
        FleetHere,
        must_be_idle,
        plan_drill,
        run_drill,
    )
    from pancode.drills.model import DrillReport

    face.acts_here("pancode fleet drill")
    if verify is not None:
        return verify_report(face, verify, keys)
    home, client, clock, ids = home_of(os.environ), face.client(), SystemClock(), SystemIds()
    identity, name = client.get(FLEET)["coordinator"]["fleet"], f"d-{ids.short(6)}"
    nodes = find_nodes(client, node)
    if dry_run:
        rows = plan_drill(nodes)
        columns: RowColumns[dict[str, str]] = {"FAULT": "fault", "NODE": "node", "DOES": "does"}
        return face.end(ExitCode.DONE, {"faults": rows}, lambda: format_rows(rows, columns))
    copies = tuple(find(face, client, home / FOLDER / SCRATCH, key_file) for find in COPIES)
    fleet = FleetHere(client, home, clock, ids, find_user(), name, copies)
    must_be_idle(fleet)
    question = f"The drill kills parts of this fleet on {', '.join(nodes)} for a few minutes. Begin?"
    if not yes and not face.confirm(question, "pancode fleet drill --yes"):
        raise UsageError("the drill was not begun", why="it was not confirmed", code="not_accepted")
    now_ms = clock.wall_ms()
    begun = DrillReport(drill=name, fleet=identity, by=find_user(), pancode=__version__, begun_ms=now_ms)
    done, file = run_drill(fleet, nodes, begun, lambda row: face.note(format_row(row)))
    answer = {"file": str(file), "good": done.is_good, "report": done.model_dump(mode="json")}
    ended = ExitCode.INFRA if done.ended_ms is not None else ExitCode.DETACHED
    status = ExitCode.DONE if done.is_good else ended
    return face.end(status, answer, lambda: format_report(done) + f"report: {file}\n")


def find_nodes(client: Client, named: Sequence[str]) -> list[str]:
    """Return the nodes to drill: the named ones, or all online ones. UnavailableError if one is not."""
    states = {one["name"]: one["state"] for one in client.get(FLEET)["nodes"]}
    chosen = list(dict.fromkeys(named)) or [name for name, state in states.items() if state == "online"]
    for one in chosen:
        if one not in states:
            raise not_found("node", one, states, "pancode node ls")
        if states.get(one) != "online" or client.get(NODE.at(one))["target"]["installed_home"] is None:
            raise UnavailableError(f"{one} is not online", fix=f"pancode fleet up {one}")
    if not chosen:
        raise UnavailableError("no node is online", fix="pancode fleet up")
    return chosen


def verify_report(face: Face, path: Path, keys: Path | None) -> int:
    from node_agent.wire.signing import WireRefusal, open_as, parse_envelope
    from pancode.drills.commands.drilled_fleet import trusted_keys
    from pancode.drills.model import DrillReport

    try:
        report = open_as(DrillReport, parse_envelope(path.read_bytes()), trusted_keys(face.client, keys))
    except WireRefusal as refused:
        answer = {"verdict": refused.code.upper(), "why": refused.detail}
        words = f"{answer['verdict']}  {escape_line(str(path))}\n  {escape_line(refused.detail)}\n"
        return face.end(ExitCode.SIGNATURE, answer, lambda: words)
    shown = {"verdict": report.verdict, "good": report.is_good, "report": report.model_dump(mode="json")}
    status = ExitCode.DONE if report.is_good else ExitCode.INFRA
    head = f"{report.verdict}  {escape_line(str(path))}\n"
    return face.end(status, shown, lambda: head + format_report(report))


def format_report(report: DrillReport) -> str:
    """Return the rows as a table, and the result."""
    from pancode.runs.views import format_iso

    cells = list[list[object]]()
    for row in report.rows:
        at = short_time(format_iso(row.injected_ms)) if row.injected_ms else "-"
        times = [at, _format_ms(row.noticed_ms), _format_ms(row.recovered_ms)]
        facts = [*times, row.lost, row.doubled, row.problem or _NOTES.get(row.fault, "")]
        instead = [*[""] * 5, f"skipped: {row.skipped}"]
        cells.append([row.fault, row.node, *(instead if row.skipped else facts)])
    tried = [row for row in report.rows if not row.skipped]
    good, skipped = sum(row.is_good for row in tried), len(report.rows) - len(tried)
    result = f"{good} of {len(tried)} recovered without loss" + (f", {skipped} skipped" if skipped else "")
    result += ", interrupted" if report.ended_ms is None else ""
    return f"{format_table(_HEAD, cells)}drill {report.drill} of {report.fleet}: {result}\n"


def format_row(row: DrillRow) -> str:
    """Return a row as one line, for the progress."""
    end = f"skipped: {row.skipped}" if row.skipped else f"recovered after {_format_ms(row.recovered_ms)}"
    return escape_line(f"{row.node or 'fleet'}: {row.fault}: {row.problem or end}")


def _format_ms(ms: int | None) -> str:
    return "-" if ms is None else format_seconds(ms / 1_000)
