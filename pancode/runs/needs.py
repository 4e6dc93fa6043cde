"""Decides which runs need a user, with the state, the headline and the possible acts of each need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from node_agent.wire.failure import Outcome
from pancode.kernel.formatting import STATUSES, count_noun, format_title
from pancode.kernel.ports import Transaction
from pancode.kernel.records import EndedRun, Run
from pancode.runs.answers import InboxShape, Need, NeedAct, NeedGroup
from pancode.runs.core import Core
from pancode.runs.extension import LargerWork
from pancode.runs.life.inbox import BEFORE_START, ItemKind
from pancode.runs.receipts.trust import WAITING, ResultTrust, is_disputed, read_tested
from pancode.runs.unit_of_work import is_at_fault, is_left
from pancode.runs.views import format_iso, node_of
from pancode.runs.whole_changes import find_larger

_HEADLINE = 300
_BEFORE_ERROR = re.compile(r"gate .*?: (?:exit|signal) \d+: (?=\S)", re.DOTALL)
"""What a node writes before the first error line of a failed gate."""
_ASKED = (ItemKind.QUESTION, ItemKind.PERMISSION)
_WIDE = (*BEFORE_START, ItemKind.PERMISSION)


@dataclass(frozen=True, slots=True)
class LeftRun:
    """An ended run that no user has decided on. `work`: the larger work that it is part of; `is_result`:
    whether its change is a result of that work, or it is part of none. `size`: the size of its change;
    empty: unknown."""

    run: Run
    node: str | None
    usd: Decimal | None
    agent_minutes: float | None
    work: LargerWork | None
    is_result: bool
    size: str = ""


def load_left(core: Core, tx: Transaction, run: Run, ended: EndedRun | None) -> LeftRun:
    """Return the run with the facts that decide whether it needs a user."""
    work = find_larger(core, tx, run.workflow)
    is_result = work is None or run.id in work.list_results(False)
    usd = None if ended is None or ended.unknown else ended.usd
    minutes = None if ended is None else round(ended.agent_ms / 60_000, 1)
    return LeftRun(run, node_of(tx, run), usd, minutes, work, is_result)


def need_of_run(left: LeftRun) -> Need | None:
    """Return what a user must decide about an ended run; None: nothing. Runs of a workflow are covered by the
    need of the workflow, except the results of one that did not fail."""
    run, work = left.run, left.work
    is_of_workflow = work is not None and not work.stays_open
    if not is_left(run) or run.landing.get("status") == WAITING:
        return None
    if (work is not None and is_of_workflow and work.has_failed) or (is_of_workflow and is_at_fault(run)):
        return None
    if is_at_fault(run):
        return _make(left, NeedGroup.FAILED, _failed_state(run), headline_of(run), _acts_of_failed(run))
    if not left.is_result:
        return None
    state, headline = _describe_change(left)
    return _make(left, NeedGroup.TO_LAND, state, headline, _acts_of_change(run, state, headline))


def _make(left: LeftRun, group: NeedGroup, state: str, headline: str, acts: tuple[NeedAct, ...]) -> Need:
    run = left.run
    command = "pancode land {run}" if group is NeedGroup.TO_LAND else "pancode runs show {run}"
    if run.outcome in (Outcome.LOST, Outcome.INFRA):
        command = "pancode runs retry {run}"
    return Need(
        id=run.id,
        group=group,
        state=state,
        title=title_of(run),
        headline=headline[:_HEADLINE],
        command=command.format(run=run.id),
        since=None if run.finished_ms is None else format_iso(run.finished_ms),
        run=run.id,
        workflow=run.workflow,
        node=left.node,
        project=run.project,
        usd=None if left.usd is None else f"{left.usd:f}",
        agent_minutes=left.agent_minutes,
        words=run.reason,
        acts=acts,
    )


def title_of(run: Run) -> str:
    return format_title(run.task or " ".join(run.argv or ())) or run.id


def _failed_state(run: Run) -> str:
    return "disputed" if is_disputed(run) else STATUSES.get(str(run.outcome), str(run.outcome))


def headline_of(run: Run) -> str:
    """Return why the run failed: the first error line of its failed gate, or its reason."""
    if is_disputed(run):
        return "passed its gates on its node, but not on another"
    return " ".join(_BEFORE_ERROR.sub("", run.reason, 1).split()) or f"ended as {run.outcome}"


def _describe_change(left: LeftRun) -> tuple[str, str]:
    """Return the state of a change, and its size with whether its gates passed."""
    run, files = left.run, left.run.result.get("files_changed")
    size = left.size or count_noun(len(files) if isinstance(files, list | tuple) else 0, "file")
    tested = read_tested(run)
    is_tested = tested is not None and tested.state is not ResultTrust.UNVERIFIED
    if run.landing.get("status") == "conflict":
        return "conflict", f"{size}, conflicts with your files"
    return ("to_land", f"{size}, gates passed") if is_tested else ("unverified", f"{size}, not verified")


def _act(run: str, name: str, key: str, asks: str, *, takes_text: bool = False) -> NeedAct:
    label, verb = ACT_WORDS[name]
    return NeedAct(name, key, label, asks, f"/v1/runs/{run}/{verb}", takes_text=takes_text)


ACT_WORDS = {
    "answer": ("Answer", "answer"),
    "approve": ("Approve", "approve"),
    "approve_run": ("Approve for the whole run", "approve"),
    "deny": ("Deny", "deny"),
    "land": ("Land", "land"),
    "resolve": ("Resolve", "land/resolve"),
    "retry": ("Retry", "retry"),
    "send_back": ("Send back", "continue"),
}
"""The label of an act, and the last part of its path."""


def _acts_of_failed(run: Run) -> tuple[NeedAct, ...]:
    title = title_of(run)
    again = f"Run “{title}” again from the beginning? No undo."
    back = f"What should “{title}” do about it? A new run continues from its result. No undo."
    return (
        _act(run.id, "retry", "r", again),
        _act(run.id, "send_back", "s", back, takes_text=True),
        NeedAct.done(run.id),
    )


def _acts_of_change(run: Run, state: str, headline: str) -> tuple[NeedAct, ...]:
    title = title_of(run)
    land = f"Land “{title}” ({headline})? Its gates run first if your files have changed. No undo."
    resolve = f"Let an agent resolve the conflict of “{title}” with your files? Its result is a new run."
    back = f"What is wrong with “{title}”? A new run continues from this change. No undo."
    return (
        _act(run.id, "resolve", "l", resolve) if state == "conflict" else _act(run.id, "land", "l", land),
        _act(run.id, "send_back", "s", back, takes_text=True),
        NeedAct.done(run.id),
    )


def need_of_item(item: InboxShape, left: LeftRun | None) -> Need:
    """Return what a user must decide about an inbox item, with everything that an approval covers."""
    kind, plan = ItemKind(item["kind"]), item["plan"] or {}
    approves = str(plan.get("task", "")) if kind in BEFORE_START else item["words"]
    return Need(
        id=item["id"],
        group=NeedGroup.ASKS,
        state=kind.value,
        title=item["title"] or item["run"],
        headline=" ".join(item["words"].split())[:_HEADLINE],
        command=item["command"],
        since=item["since"],
        run=item["run"] if left is not None else None,
        workflow=None if left is None else left.run.workflow,
        node=None if left is None else left.node,
        usd=None if left is None or left.usd is None else f"{left.usd:f}",
        agent_minutes=None if left is None else left.agent_minutes,
        words=item["words"],
        approves="" if kind in _ASKED else approves,
        acts=tuple(_list_acts_of_item(item, kind)),
        item=item,
    )


def _list_acts_of_item(item: InboxShape, kind: ItemKind) -> Iterator[NeedAct]:
    run, title = item["run"], item["title"] or item["run"]
    call = {"call": item["call"]} if item["call"] else {}
    if item["command"].startswith("pancode answer"):
        yield _act(run, "answer", "a", item["words"], takes_text=True)
    if kind is not ItemKind.QUESTION:
        plan = {} if item["plan"] is None else {"plan": item["plan"]["digest"]}
        flags = {flag.removeprefix("--").replace("-", "_"): True for flag in item["yes"]}
        also = f" with {', '.join(item['yes'])}" if item["yes"] else ""
        lands = "Its gates run on the merged files first." if kind is ItemKind.LANDING else "It continues."
        does = "It counts at once; `pancode config undo` takes it back." if kind is ItemKind.CHANGE else lands
        asks, body = f"Approve “{title}” ({run}){also}? {does}", {**flags, **call, **plan}
        yield replace(_act(run, "approve", "l", asks), body=body)
        if kind is ItemKind.CALL or kind in _WIDE:
            wide = f"Approve {item['whole'] or 'this and everything of its kind'} for the rest of {run}?"
            yield replace(_act(run, "approve_run", "L", wide), body={**body, "scope": "run"})
    if kind is ItemKind.LANDING:
        asks = f"What is wrong with “{title}”? A new run continues from this change. No undo."
        yield _act(run, "send_back", "s", asks, takes_text=True)
    if kind is ItemKind.CALL:
        asks = f"Deny this command of “{title}”? Its agent continues without it, and gets your message."
        yield replace(_act(run, "deny", "x", asks, takes_text=True), body=call)
    else:
        asks = f"Deny “{title}” ({run})? It is not asked about again. No undo."
        yield _act(run, "deny", "x", asks)
