"""Loads everything that needs a user, and arranges it in groups for all interfaces."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from pancode.fleet.answers import NodeShape
from pancode.fleet.fleet import list_nodes
from pancode.kernel.errors import NotFoundError, PancodeError, UsageError
from pancode.kernel.formatting import count_noun
from pancode.kernel.ports import Grouping, Transaction
from pancode.kernel.records import EndedRun, Node, Run, Setting
from pancode.kernel.values import replace
from pancode.reports.answers import NeedsOfGroup
from pancode.runs import health
from pancode.runs.answers import InboxShape, Need, NeedGroup
from pancode.runs.core import Core
from pancode.runs.features import features_of
from pancode.runs.inbox_answers import list_inbox
from pancode.runs.needs import LeftRun, load_left, need_of_item, need_of_run
from pancode.runs.restored import release
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.views import not_ended
from pancode.runs.whole_changes import commits_of

UP = ("online", "draining", "drained")
"""The states of a node that sends heartbeats."""
DISMISSED = "dismissed needs"
"""The name of the setting with the ids of the needs that a user has dismissed, without those of runs."""
_NEWEST, _LISTED = 5_000, 500
"""How many of the newest runs without a decision are read, and how many of them are listed."""
_FILE = re.compile(rb"^ *(?:binary|\+(\d+) -(\d+))  ", re.MULTILINE)


def list_needs(core: Core, items: Sequence[InboxShape] | None = None) -> list[Need]:
    """Return everything that needs a user. `items`: the inbox, if it was read already."""
    with core.ports.ledger.transaction() as tx:
        dismissed = read_dismissed(tx)
    return [need for need in _load(core, items) if need.id not in dismissed]


def _load(core: Core, items: Sequence[InboxShape] | None = None) -> list[Need]:
    items, nodes = list_inbox(core) if items is None else items, list_nodes(core)
    with core.ports.ledger.transaction() as tx:
        sick = {node.name: why for node in tx.find(Node) if (why := node.quarantined or node.paused)}
        found = [
            *_list_of_redis(core),
            *release.list_needs(core, tx),
            *health.list_needs(core, tx),
            *(need for find in features_of(core).needs_user for need in find(core, tx)),
        ]
        asked = {item["run"]: _load_run(core, tx, item["run"]) for item in items}
        # Each need of a feature already covers its run.
        covered = {*asked, *(one.run for one in found), *(run.retry_of for run in not_ended(tx))}
        names = _list_undecided(tx, covered)
        left = [run for name in names[:_LISTED] if (run := _load_run(core, tx, name)) is not None]
    return [
        *(need_of_item(item, asked[item["run"]]) for item in items),
        *found,
        *filter(None, (need_of_run(_measure(core, one)) for one in left)),
        *_list_more(len(names) - _LISTED),
        *list_troubles(nodes, sick),
    ]


def group_needs(needs: Sequence[Need]) -> tuple[NeedsOfGroup, ...]:
    """Return all groups in order. Questions stand before approvals, each oldest first; in the other groups
    the newest is first."""
    asks = sorted(needs, key=lambda one: (one.state not in ("question", "permission"), one.since or ""))
    rest = sorted(needs, key=lambda one: one.since or "", reverse=True)
    return tuple(
        NeedsOfGroup(group, _TITLES[group], len(mine), mine)
        for group in NeedGroup
        for mine in [tuple(one for one in (asks if group is NeedGroup.ASKS else rest) if one.group is group)]
    )


_TITLES: Mapping[NeedGroup, str] = {
    NeedGroup.ASKS: "Asks you",
    NeedGroup.FAILED: "Failed",
    NeedGroup.TO_LAND: "To land",
    NeedGroup.PULLS: "Pull requests",
    NeedGroup.NODES: "Nodes",
}


def _load_run(core: Core, tx: Transaction, name: str) -> LeftRun | None:
    run = tx.get(Run, name)
    return None if run is None else load_left(core, tx, run, tx.get(EndedRun, name))


def _list_undecided(tx: Transaction, covered: Collection[str | None]) -> list[str]:
    """Return ended runs that need a user, newest first. Each remains until a user lands, retries, continues
    or drops it."""
    rows = Grouping(("ended_ms", "run"), among={"left": (True,)}, largest=("ended_ms", _NEWEST))
    waits = [run for _, run in sorted((one.key for one in tx.tally(EndedRun, rows)), reverse=True)]
    tried = tx.tally(EndedRun, Grouping(by=("retry_of",), among={"retry_of": tuple(waits)})) if waits else []
    decided = {one.key[0] for one in tried}.union(covered)
    return [run for run in waits if run not in decided]


def _measure(core: Core, left: LeftRun) -> LeftRun:
    """Return the run with the size of its change, which never changes again."""
    if not left.is_result or left.run.result.get("commit") is None:
        return left
    try:
        repo, old, new = commits_of(core, left.run)
        return left if new is None else replace(left, size=_read_size(core, repo, old, new))
    except PancodeError:  # The depot may no longer have the change.
        return left


def _read_size(core: Core, repo: str, old: str, new: str) -> str:
    sizes, key = core.live.sizes, (repo, old, new)
    if key not in sizes:
        files = _FILE.findall(core.ports.depot.diff(repo, old, new, stat=True))
        added, removed = (sum(int(one[side] or 0) for one in files) for side in (0, 1))
        sizes[key] = f"{count_noun(len(files), 'file')} +{added} -{removed}" if files else ""
    return sizes[key]


def _list_more(many: int) -> Iterator[Need]:
    if many > 0:
        words = f"{many} older runs failed or have a change that is not landed"
        yield Need("older", NeedGroup.FAILED, "older", words, words, "pancode runs --since 7d")


def _list_of_redis(core: Core) -> Iterator[Need]:
    fault = core.live.redis.fault
    if fault is not None:
        yield Need("redis", NeedGroup.NODES, "error", str(fault), fault.why, fault.fix)


def list_troubles(nodes: Sequence[NodeShape], sick: Mapping[str, str]) -> Iterator[Need]:
    """Yield the nodes that are silent, accept no work or have a problem."""
    for node in nodes:
        if node["state"] in UP and not node["problems"] and node["name"] not in sick:
            continue
        problem = node["problems"][0]["what"] if node["problems"] else f"is {node['state']}"
        name = node["name"]
        yield Need(
            id=f"node:{name}",
            group=NeedGroup.NODES,
            state=node["state"],
            title=name,
            headline=sick.get(name) or problem,
            command=f"pancode doctor {name}",
            since=node["since"],
            node=name,
        )


def read_dismissed(tx: Transaction) -> frozenset[str]:
    """Return the ids of the dismissed needs that are of no run."""
    known = tx.get(Setting, DISMISSED)
    ids = [] if known is None or not isinstance(known.value, list) else known.value
    return frozenset(map(str, ids))


def dismiss_need(core: Core, need: str, by: str) -> None:
    """Dismiss the need: no list shows it; a run is dropped. Idempotent. NotFoundError if there is no
    such need, UsageError if it must be decided."""
    found = {one.id: one for one in _load(core)}
    if need not in found:
        raise NotFoundError(f"need {need[:80]!r} not found", fix="pancode inbox")
    if all(act.name != "done" for act in found[need].acts):
        what, fix = f"{need} cannot be dismissed", found[need].command
        raise UsageError(what, why="it needs a decision", fix=fix, code="other_kind")
    if found[need].run == need:
        _dismiss_run(core, need, by)
    else:
        with unit_of_work(core) as work:
            _keep(work, (read_dismissed(work.tx) & found.keys()) | {need}, f"need dismissed: {need}", by)


def _keep(work: Work, dismissed: frozenset[str], what: str, by: str) -> None:
    work.tx.put(Setting(DISMISSED, sorted(dismissed), work.core.wall_ms(), by))
    work.audit("people", "info", what, None, by=by)


def take_back(core: Core, need: str, by: str) -> None:
    """Take back the dismissal of the need. Idempotent. NotFoundError if it is neither dismissed nor a run."""
    with unit_of_work(core) as work:
        dismissed = read_dismissed(work.tx)
        if need in dismissed:
            return _keep(work, dismissed - {need}, f"need no longer dismissed: {need}", by)
        if work.tx.get(Run, need) is None:
            raise NotFoundError(f"need {need[:80]!r} was not dismissed", fix="pancode inbox")
    return _dismiss_run(core, need, by, back=True)


def _dismiss_run(core: Core, run: str, by: str, *, back: bool = False) -> None:
    for dismiss in features_of(core).dismiss:
        dismiss(core, run, by, back)
