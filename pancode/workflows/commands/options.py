"""The options that batch, chain and race share."""

from __future__ import annotations

from typing import Annotated, Literal

from pancode.interfaces.cli import completions
from pancode.interfaces.cli.parameters import duration, money, option

Concurrency = Annotated[int | None, option("At most this many of its runs at once.", "N", min=1)]
Stagger = Annotated[
    int | None,
    option(
        "Wait this long between two starts of agent programs on one node (default: 150ms).",
        "D",
        parser=duration,
    ),
]
FailFast = Annotated[bool, option("The first failure stops all the others.", "--fail-fast")]
Partial = Annotated[bool, option("Leave out refused tasks instead of refusing all.", "--partial")]
Total = Annotated[
    str | None,
    option("At most this much for all of its runs together.", "--total-budget", "USD", parser=money),
]
Land = Annotated[bool, option("Land the change of each run that is done.", "--land")]
LandLast = Annotated[bool, option("Land the change when all is done.", "--land")]
Yes = Annotated[bool, option("Say yes for agents that ask a user before each dispatch.", "--yes")]
DryRun = Annotated[bool, option("Show the plan, its gates and its estimate; start nothing.", "--dry-run")]
Detach = Annotated[bool, option("Do not wait for the results.", "--detach/--wait")]
RaceAgents = Annotated[str | None, option("One run for each agent.", "A,B", complete=completions.agents)]
RaceModels = Annotated[str | None, option("One run for each model.", "A,B", complete=completions.models)]
RaceRuntimes = Annotated[
    str | None, option("One run for each runtime.", "A,B", complete=completions.runtimes)
]
RaceNodes = Annotated[str | None, option("One run on each node.", "A,B", complete=completions.nodes)]
BestOf = Annotated[int | None, option("Run the same worker this many times.", "N", min=2, max=50)]
WonBy = Annotated[
    Literal["first", "smallest", "score"] | None,
    option(
        "first that is done (default), smallest change, or highest score.", "--choose", "first|smallest|score"
    ),
]
Score = Annotated[str | None, option("Command run in each result; it prints a number.", "CMD")]
