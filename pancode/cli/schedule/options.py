"""The options of `pancode schedule add`."""

from __future__ import annotations

from typing import Annotated, Literal

from pancode.cli.parsing import completions
from pancode.cli.parsing.params import Label, label, many, option

Cron = Annotated[
    str | None, option("Five fields of cron, or @hourly, @daily, @weekly, @monthly, @yearly.", "WORDS")
]
At = Annotated[str | None, option("Begin once: '2026-12-24 08:00', 08:00, or with an offset.", "TIME")]
On = Annotated[
    str | None,
    option(
        "Begin on an event: run.failed, run.done, run.asks, workflow.failed, node.lost ..., or on a webhook.",
        "EVENT",
    ),
]
OnPush = Annotated[
    tuple[str, str] | None,
    option(
        "Begin when this branch gets a new head; REPO is a folder or an https address.",
        "--on-push",
        "REPO BRANCH",
    ),
]
Where = Annotated[
    list[Label],
    many(
        "Begin only on such events: agent, node, repo, outcome, workflow; may be repeated.",
        "KEY=VALUE",
        parser=label,
    ),
]
Chain = Annotated[
    str | None,
    option("Begin this workflow; TASK is its input.", "NAME|FILE", complete=completions.workflow_files),
]
Batch = Annotated[
    str | None, option("Begin the tasks of this file.", "FILE", complete=completions.workflow_files)
]
Missed = Annotated[
    Literal["once", "none", "all"],
    option("If times passed while no coordinator ran: begin once for all, not at all, or for each."),
]
Overlap = Annotated[bool, option("Begin even while its last run is at work.", "--overlap")]
Zone = Annotated[str | None, option("Time zone of --cron and --at (default: this machine's).", "ZONE")]
DryRun = Annotated[bool, option("Show its next times; write nothing.", "--dry-run")]
