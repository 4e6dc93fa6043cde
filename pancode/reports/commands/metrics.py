"""`pancode status --metrics`: the fleet's metrics, as six lines for users or as Prometheus text."""

from __future__ import annotations

import sys

from pancode.interfaces.cli.parameters import Face
from pancode.interfaces.cli.terminal import escape_line
from pancode.kernel.formatting import count_noun, format_bytes, format_count, format_seconds, format_usd
from pancode.reports.answers import METRICS, FigureShape


def show_metrics(face: Face, *, brief: bool) -> None:
    """Show the fleet's metrics: six lines on a terminal or with `brief`; in a pipe, Prometheus text."""
    answer = face.get(METRICS)
    short = brief or sys.stdout.isatty()
    data = {"figures": answer["figures"]}
    face.show(data, lambda: six_lines(answer["figures"]) if short else answer["text"])


def six_lines(figures: list[FigureShape]) -> str:
    """Return one line each for nodes, runs, queue, work, money and coordinator."""
    now = _Figures(figures)
    used, slots = now.total("pancode_node_slots_used"), now.total("pancode_node_slots")
    problems = count_noun(int(now.total("pancode_node_problems")), "problem")
    waits = now.total("pancode_queue_waiting")
    oldest = max(now.all("pancode_queue_oldest_seconds"), default=0)
    runs, tokens = now.total("pancode_agent_runs_total"), now.total("pancode_agent_tokens_total")
    busy, looked = now.total("pancode_agent_busy_seconds_total"), now.total("pancode_round_age_seconds")
    ceiling = now.all("pancode_budget_ceiling_usd")
    of = f"of {_format_dollars(ceiling[0])}" if ceiling else "no ceiling"
    rows = {
        "nodes": f"{now.parts('pancode_nodes', 'state')}; {used:.0f} of {slots:.0f} slots, {problems}",
        "runs": f"{now.parts('pancode_runs', 'state')}; ended: "
        f"{now.parts('pancode_runs_ended_total', 'outcome')}",
        "queue": f"{waits:.0f} waiting" + (f", the oldest for {format_seconds(oldest)}" if waits else ""),
        "work": f"{count_noun(int(runs), 'run')} in total, {format_count(tokens)} tokens, "
        f"{format_seconds(busy)}",
        "money": f"today {_format_dollars(now.total('pancode_budget_spent_usd'))} spent, "
        f"{_format_dollars(now.total('pancode_budget_held_usd'))} reserved, {of}",
        "coordinator": f"{format_bytes(int(now.total('process_resident_memory_bytes')))} of memory, checked "
        f"the queue {format_seconds(looked)} ago",
    }
    return "".join(f"{name:<12} {words}\n" for name, words in rows.items())


class _Figures:
    """The values of metrics, summed by name."""

    def __init__(self, figures: list[FigureShape]) -> None:
        self._figures = figures

    def all(self, name: str) -> list[float]:
        return [one["value"] for one in self._figures if one["name"] == name]

    def total(self, name: str) -> float:
        return sum(self.all(name))

    def parts(self, name: str, label: str) -> str:
        """Return a metric's sums by the values of a label, as text; zero sums are left out."""
        sums: dict[str, float] = {}
        for one in self._figures:
            if one["name"] == name and one["value"]:
                word = escape_line(one["labels"][label])
                sums[word] = sums.get(word, 0) + one["value"]
        return ", ".join(f"{number:.0f} {word}" for word, number in sums.items()) or "none"


def _format_dollars(amount: float) -> str:
    return format_usd(f"{amount:.6f}")
