"""Writes the page of figures: every name of the catalogue, what it means, its labels."""

from __future__ import annotations

from collections.abc import Iterable

from docs.generate.markdown import code, listed, page, table, words
from pancode.reports.figures import FIGURES, MEDIA_TYPE, Figure

INTRO = f"""
`pancode status --metrics` prints them, and `/metrics` at the address of `metrics.listen` shows them, if that
is set (`{MEDIA_TYPE}`). What is not known has no sample, and is never told as 0: a series that ends says that
nobody knows. Where the ledger cannot be read there is no page at all (503).
[How to watch a fleet](../howto/monitoring.md) has rules for alerts.
"""
LABELS = """
`node`, `agent` and `runtime` are names of your own configuration, `state` and `outcome` are
[words of PanCode](states.md), `queue` is the name of a queue in Redis. No label has a task, a path, a
run's name or anything that a model said.
"""
PROCESS = """
Those of the coordinator's process have the names that the clients of Prometheus itself use.
"""


def figures_page() -> str:
    own = {name: figure for name, figure in FIGURES.items() if name.startswith("pancode_")}
    process = {name: figure for name, figure in FIGURES.items() if name not in own}
    return page(
        "Figures",
        "`pancode/reports/figures.py`",
        words(INTRO),
        words(LABELS),
        _table(own.items()),
        "## The process",
        words(PROCESS),
        _table(process.items()),
    )


def _table(figures: Iterable[tuple[str, Figure]]) -> str:
    rows = [(code(name), one.kind, listed(one.labels), one.what) for name, one in figures]
    return table(("Name", "Type", "Labels", "What it is"), rows)
