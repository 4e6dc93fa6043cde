"""`pancode records`: who does which kind of work how well."""

from __future__ import annotations

from typing import Annotated, Any

from pancode.cli.output.render import usd
from pancode.cli.output.tables import table
from pancode.cli.parsing import completions
from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import Json, option

app = Commands()


@app.verb("records", "pancode records", "pancode records --rankings", "pancode records --agent builder")
def records(
    *,
    rankings: Annotated[
        bool, option("Group by agent, model and runtime alone, over all kinds of tasks.", "--rankings")
    ] = False,
    agent: Annotated[str | None, option("Show only this agent.", "A", complete=completions.agents)] = None,
    number: Annotated[int, option("Show at most this many rows.", "-n", "--number", min=1, max=10_000)] = 50,
    face: Json,
) -> None:
    """Show who does which work well, the best first, from accepted receipts of the newest 5,000 runs.

    A landed change that a later commit of its repository takes back is no good run.
    Runs that people stopped, questions, and faults of a machine, of a model server or of ours do not count.
    RATE is smoothed, and BETWEEN holds the true one 95 times in 100: with few runs it is wide.
    """
    answer = face.client().get("/v1/records", rankings=rankings, agent=agent, limit=number)
    face.show(answer, lambda: _lines(answer["records"], rankings))


def _lines(rows: list[dict[str, Any]], rankings: bool) -> str:
    if not rows:
        return "no run has a record yet: an accepted receipt makes one\n"
    about = () if rankings else ("KIND", "REPOSITORY")
    head = (
        "AGENT",
        "MODEL",
        "RUNTIME",
        *about,
        "RUNS",
        "GOOD",
        "RATE",
        "BETWEEN",
        "LANDED",
        "REVERTED",
        "EACH",
        "MINUTES",
    )
    return table(head, (_row(row, rankings) for row in rows))


def _row(row: dict[str, Any], rankings: bool) -> tuple[object, ...]:
    about = () if rankings else (row["kind"], row["repository"])
    each = "unknown" if row["unknown_runs"] and row["landed"] else "-"
    price = usd(str(row["usd_each_landed"])) if row["usd_each_landed"] is not None else each
    between = f"{row['low']:.2f} to {row['high']:.2f}"
    figures = (row["runs"], row["good"], f"{row['rate']:.2f}", between, row["landed"], row["reverted"], price)
    return (row["agent"], row["model"], row["runtime"], *about, *figures, row["minutes_each_landed"])
