"""Composes notices: one short text of what happened, why, and the command, without task or code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pancode.kernel.formatting import count_noun, format_outcome
from pancode.kernel.records import FeedEvent
from pancode.runs import occasions
from pancode.runs.life.inbox import ItemKind

TEXT = 240
"""The most characters of what happened and why; the command follows whole."""
ASKS = "asks"
"""The key, in the row of a notice, of the run that asks the user."""
WAITS, CALL = "waits", "call"
"""The keys of the run that waits for the user, and of the command that answers its call; "": no call."""
_ANSWERABLE = ("question", "permission")
"""The kinds that the link of a notice can answer; other decisions need more than its short page."""
_OF_A_RUN = frozenset(ItemKind) - {ItemKind.CHANGE}
KIND_OF: Mapping[str, str] = {
    occasions.RUN_WAITS: "waits",
    occasions.RUN_FAILED: "ended_badly",
    occasions.WORKFLOW_FAILED: "ended_badly",
    occasions.SCHEDULE_FAILED: "ended_badly",
    occasions.RUN_DONE: "ended_well",
    occasions.WORKFLOW_DONE: "ended_well",
    occasions.BUDGET: "budget",
    occasions.NODE_LOST: "node_lost",
    occasions.TRUST_BROKEN: "trust_broken",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice to a user."""

    text: str
    link: str | None = None
    question: str | None = None
    """The run that waits for an answer; None: no run waits."""
    waits: str | None = None
    """The run whose inbox item the notice is about; None: it is about no item of a run."""
    call: str = ""
    """The command that answers the call about which the run asks; empty: it asks about no call."""

    def row(self) -> dict[str, object]:
        fields = {} if self.question is None else {ASKS: self.question}
        fields |= {} if self.waits is None else {WAITS: self.waits, CALL: self.call}
        return {"text": self.text, "link": self.link, **fields}


def notice_of(event: FeedEvent, occasion: str, facts: Mapping[str, str], console: str | None) -> Notice:
    """Return the notice for an event that concerns the user."""
    what, why, command, page = _make_parts(event, occasion, facts)
    said = strip_unprintable(f"{what}: {why}" if why else what, TEXT)
    link = None if console is None else f"{console.rstrip('/')}/#/{page}"
    kind = event.data.get("kind") if occasion == occasions.RUN_WAITS else None
    question = event.run if kind in _ANSWERABLE else None
    waits, call = event.run if kind in _OF_A_RUN else None, command if kind == ItemKind.CALL else ""
    return Notice(f"{said}\n{command}", link, question, waits, call)


def count_others(notice: Mapping[str, object], others: int) -> dict[str, object]:
    """Return the notice with the number of those that are not sent by themselves. A row of an older version
    has a title and a body."""
    text = str(notice.get("text") or f"{notice.get('title')}\n{notice.get('body')}")
    more = f"\nand {count_noun(others, 'more notice')}: pancode status" if others else ""
    return {**notice, "text": text + more}


def strip_unprintable(text: str, most: int) -> str:
    """Return the text as one line of printable characters, at most `most` long."""
    line = "".join(char if char.isprintable() else " " for char in text)
    line = " ".join(line.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def _make_parts(event: FeedEvent, occasion: str, facts: Mapping[str, str]) -> tuple[str, str, str, str]:
    """Return what happened, why, the command for it, and the page of the web console."""
    data, who, run = event.data, facts.get("agent", "a run"), str(event.run)
    match occasion:
        case occasions.RUN_WAITS:
            if data.get("kind") == "change":
                what = f"{data.get('by')} requests a configuration change"
                return what, str(data.get("words", "")), str(data.get("command", "")), "inbox"
            waits, page = ("the fleet", "now") if event.run is None else (run, f"runs/{run}")
            what = f"{waits} waits for you: {data.get('kind')}"
            return what, str(data.get("words", "")), str(data.get("command", "")), page
        case occasions.WORKFLOW_FAILED | occasions.WORKFLOW_DONE:
            flow = str(data.get("workflow"))
            what = f"{flow} {data.get('name')}: {data.get('state')}"
            return what, str(data.get("reason", "")), f"pancode workflow show {flow}", f"workflows/{flow}"
        case occasions.NODE_LOST:
            why = f"the node was {data.get('was')}; its runs wait or will be declared lost"
            command = f"pancode node show {event.node}"
            return f"{event.node} is {data.get('state')}", why, command, f"machines/{event.node}"
        case occasions.BUDGET:
            what = f"{data.get('percent')} % of the budget {data.get('scope')} is used"
            return what, f"{data.get('used')} of {data.get('ceiling')}", "pancode budget", "money"
        case occasions.TRUST_BROKEN:
            where = f" ({event.node})" if event.node else ""
            return (f"{data.get('what')}{where}", "recorded in the audit", "pancode audit trust", "audit")
        case occasions.SCHEDULE_FAILED:
            name = str(data.get("schedule"))
            what = f"schedule {name}: {data.get('state')}"
            return what, str(data.get("reason", "")), f"pancode schedule show {name}", "workflows"
    where = f" on {facts['node']}" if "node" in facts else ""
    return (
        f"{run} {format_outcome(str(data.get('outcome')))}: {who}{where}",
        str(data.get("reason", "")),
        f"pancode runs show {run}",
        f"runs/{run}",
    )
