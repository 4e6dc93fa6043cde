"""Shows what is held since a restore, and starts or drops it on a user's request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from pancode.kernel.formatting import first_few, format_title, format_usd
from pancode.kernel.names import not_found
from pancode.kernel.ports import Transaction
from pancode.kernel.records import Action, ActionKind, Balance, Node, Run, RunState
from pancode.kernel.row_updates import edit_row
from pancode.kernel.values import replace
from pancode.runs.answers import Need, NeedGroup
from pancode.runs.core import Core
from pancode.runs.features import HeldThing, features_of
from pancode.runs.restored.answers import AskedShape, HeldAnswer, ReleasedAnswer
from pancode.runs.restored.attempts import NOT_ATTRIBUTED
from pancode.runs.restored.hold import DROPPED, LedgerHold, read_hold, write_hold
from pancode.runs.stop import stop_run
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.views import format_iso


def describe_held(core: Core) -> HeldAnswer:
    """Return what is held, what the nodes say about it, and which nodes have reported their attempts."""
    with core.ports.ledger.transaction() as tx:
        hold = read_hold(tx)
        if hold is None:
            return {"since": None, "nodes": [], "held": []}
        things, nodes = _list_things(core, tx, hold), list[AskedShape]()
        spent = tx.get(Balance, NOT_ATTRIBUTED) or Balance(NOT_ATTRIBUTED)
        for node in tx.find(Node):
            if node.removed is None and node.tag is not None:
                complete_ms = hold.find_progress(node.tag).complete_since_ms
                since = None if complete_ms is None else format_iso(complete_ms)
                nodes.append({"node": node.name, "complete_since": since})
    steps = f"; runs that this ledger lacks cost {format_usd(spent.spent_usd)}: some may be its steps"
    missing = [one["node"] for one in nodes if one["complete_since"] is None]
    words = "no node knows that it was done since"
    if missing:
        words = f"{first_few(missing, 3)} {'has' if len(missing) == 1 else 'have'} not answered completely"
    return {
        "since": format_iso(hold.since_ms),
        "nodes": nodes,
        "held": [
            {
                "name": one.name,
                "kind": one.kind,
                "what": one.what,
                "since": format_iso(one.since_ms),
                "usd": None if one.usd is None else f"{one.usd:f}",
                "nodes": words + (steps if spent.spent_usd and one.has_steps else ""),
            }
            for one in things
        ],
    }


def _list_things(core: Core, tx: Transaction, hold: LedgerHold) -> list[HeldThing]:
    """Return what is held and would begin something if it were not, oldest first."""
    if not hold.names:
        return []
    found = [thing for find in features_of(core).held for thing in find(core, tx)]
    known = {thing.name for thing in found}
    for run in tx.find(Run, {"state": RunState.PENDING}):
        is_held = run.waits is not None and run.waits.is_held
        if run.workflow not in known and not is_held:
            what, drop = f"{run.agent}: {format_title(run.task)}", partial(_stop, core, run.id)
            found.append(HeldThing(run.id, "run", what, run.created_ms, drop, run.estimate_usd))
    for action in tx.find(Action):
        if action.kind is ActionKind.LAND:
            what, drop = f"land the change of {action.run}", partial(_stop, core, action.run)
            found.append(HeldThing(action.run, "landing", what, action.at_ms, drop))
    return sorted((one for one in found if one.name in hold.names), key=lambda one: (one.since_ms, one.name))


def _stop(core: Core, run: str, by: str) -> None:
    stop_run(core, run, f"{DROPPED} by {by}")


def release(core: Core, start: Sequence[str], drop: Sequence[str], by: str, all_left: bool) -> ReleasedAnswer:
    """Start and drop these held things; `all_left`: start everything else. NotFoundError for a name that is
    not held; then nothing was done."""
    with core.ports.ledger.transaction() as tx:
        hold = read_hold(tx)
        things = [] if hold is None else _list_things(core, tx, hold)
    by_name = {one.name: one for one in things}
    for name in (*start, *drop):
        if name not in by_name:
            raise not_found("held item", name, by_name, "pancode fleet resume --held")
    started = [name for name in by_name if name not in drop] if all_left else list(dict.fromkeys(start))
    for name in drop:
        by_name[name].drop(by)
    for name in started:
        by_name[name].release(by)
    with unit_of_work(core) as work:
        found = read_hold(work.tx)
        if found is not None and (by_name or all_left):
            freed = {*started, *drop}
            freed |= {run.id for name in freed for run in work.tx.find(Run, {"workflow": name})}
            left = frozenset[str]() if all_left else found.names - freed
            write_hold(work, found.model_copy(update={"names": left}))
            for action in work.tx.find(Action):
                if action.run in found.names - left:  # written again, so that its thread sees it now
                    edit_row(work.tx, Action, action.id, change=replace)
            what = "released after the restore"
            work.audit("fleet", "info", what, by=by, started=started, dropped=list(drop))
    return {"started": started, "dropped": list(drop), "left": len(things) - len(started) - len(drop)}


def list_needs(core: Core, tx: Transaction) -> Iterator[Need]:
    """Yield one need while anything is held."""
    hold = read_hold(tx)
    things = [] if hold is None else _list_things(core, tx, hold)
    if things:
        what = f"the fleet was restored: {len(things)} pending things wait for your decision"
        yield Need("restored", NeedGroup.ASKS, "held", what, what, "pancode fleet resume --held", words=what)
