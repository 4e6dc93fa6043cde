"""`pancode budget spent`: what runs have cost, by one of their properties."""

from __future__ import annotations

import csv
import io
import os
from typing import Annotated

from pancode.budget.answers import BY, COST, CostTable
from pancode.interfaces.cli.parameters import Face, Json, option, verb
from pancode.interfaces.cli.terminal import Columns, format_rows, format_unsettled, known_usd, short_time
from pancode.kernel.errors import UsageError
from pancode.kernel.formatting import count_noun, format_count

_FIGURES = ("runs", "usd", "disputed_usd", "unknown_runs", "tokens", "agent_minutes")


@verb("budget spent", "", "--by agent --node gpubox", "--by day --csv")
def cost(
    *,
    by: Annotated[
        str, option(f"One of {', '.join(BY)}.", "PROPERTY", complete=lambda incomplete: [*BY])
    ] = "run",
    since: Annotated[
        str | None, option("Count only runs since this time: 90m, 7d, 2026-11-22.", "TIME")
    ] = None,
    agent: Annotated[str | None, option("Show only this agent.")] = None,
    node: Annotated[str | None, option("Show only runs that ended on this node.")] = None,
    repository: Annotated[str | None, option("Show only the repository around this folder.", "DIR")] = None,
    number: Annotated[int, option("Show at most this many rows.", min=1, max=10_000)] = 50,
    as_csv: Annotated[bool, option("Print the rows as CSV, for a spreadsheet.", "--csv")] = False,
    face: Json,
) -> None:
    """Show what runs have cost, including failed and stopped ones, the most expensive first.

    The sums equal those of the books. A run without a known cost is counted as unknown. If a node reports
    more than its run's limit, the excess is disputed. Neither is part of the sum until you settle it.
    """
    if as_csv and face.as_json:
        raise UsageError("--json and --csv cannot be combined", fix="omit --json or --csv")
    where = None if repository is None else os.path.abspath(repository)
    answer = face.get(COST, by=by, since=since, limit=number, agent=agent, node=node, repository=where)
    face.show(answer, lambda: _format_csv(answer) if as_csv else _format_lines(answer, face))


def _format_csv(answer: CostTable) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((answer["by"], *_FIGURES))
    for row in answer["rows"]:
        key = row["key"] or ""
        # Escaped, so that a spreadsheet does not interpret the cell as a formula.
        cell = f"'{key}" if key.startswith(("=", "+", "-", "@")) else key
        writer.writerow((cell, *(value for name, value in row.items() if name in _FIGURES)))
    return out.getvalue()


def _format_lines(answer: CostTable, face: Face) -> str:
    if not answer["rows"]:
        return "nothing was spent" + (f" since {short_time(answer['since'])}\n" if answer["since"] else "\n")
    about = {"ABOUT": "about"} if answer["by"] == "run" else {}
    columns: Columns = {answer["by"].upper(): "key", **_COLUMNS, **about}
    spare = ("RUNS", "MINUTES") if about else ("MINUTES", "TOKENS")
    shown = [*answer["rows"], {"about": "", **answer["total"], "key": "total"}]
    if more := answer["left_out"]:
        face.note(f"{count_noun(more, 'row')} more: -n {len(answer['rows']) + more}")
    if format_unsettled(answer["total"]) != "-":
        face.note("to set an unknown or disputed cost: pancode budget settle RUN --usd X")
    return format_rows(shown, columns, spare=spare, cut="ABOUT" if about else "")


_COLUMNS: Columns = {
    **{"RUNS": "runs", "COST": known_usd, "UNSETTLED": format_unsettled},
    **{"TOKENS": lambda row: format_count(row["tokens"]), "MINUTES": "agent_minutes"},
}
