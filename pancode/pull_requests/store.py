"""The rows of watched pull requests: begins and lists them, and applies decisions and users' words."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from pancode.git.pull_state import PullOpened, PullStatus
from pancode.kernel.names import not_found
from pancode.kernel.ports import Transaction
from pancode.kernel.records import EventKind, Run
from pancode.kernel.values import replace
from pancode.kernel.visitors import token_behind
from pancode.pull_requests.model import WatchedPull, items_of
from pancode.pull_requests.rules import command_for, needs_user, note_word
from pancode.runs.core import Core
from pancode.runs.life.changes import Happened
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.views import chain_of


def list_pulls(tx: Transaction) -> list[WatchedPull]:
    """Return the pull requests that are watched now, oldest first."""
    return tx.find(WatchedPull, {"ended": False}, order="opened_ms")


def watch_pull(core: Core, run: Run, pull: PullOpened, follows: bool) -> None:
    """Begin to watch a pull request, or record that a newer run's change is on it. `follows`: the project's
    setting. Idempotent."""
    name = f"p-{hashlib.sha256(pull.url.encode()).hexdigest()[:8]}"
    with unit_of_work(core) as work:
        known = work.tx.get(WatchedPull, name)
        row = known or WatchedPull(
            name, run.id, str(run.project), pull.forge, pull.repository, pull.number, pull.url, pull.remote,
            pull.branch, pull.by, core.wall_ms(), follows,
        )  # fmt: skip
        row = replace(note_word(row, True, done=False), by=pull.by) if pull.follow else row
        work.tx.put(replace(row, run=run.id, remote=pull.remote, ended=False))
        if known is None:
            what = "pull request watched"
            work.audit("people", "info", what, run.id, by=pull.by, url=pull.url, follow=row.follow)


def take_word(core: Core, name: str, follow: bool | None, done: bool, forget: bool, by: str) -> WatchedPull:
    """Record a user's word about a pull request and return it. Who follows it sends its messages. `forget`:
    stop watching it. NotFoundError."""
    with unit_of_work(core) as work:
        pull = work.tx.get(WatchedPull, name)
        if pull is None or pull.ended:
            names = [one.id for one in list_pulls(work.tx)]
            raise not_found("watched pull request", name, names, "pancode inbox pulls")
        run = work.tx.get(Run, pull.worker) if follow else None
        new = note_word(pull, follow, done, run and chain_of(work.tx, run)[-1])
        new = replace(new, by=by) if follow else new
        new = replace(new, ended=True, items=(), mark="") if forget else new
        work.tx.put(new)
        detail = {"follow": new.follow, "done": done, "forget": forget}
        work.audit("people", "info", "pull request", new.run, by=by, url=new.url, word=detail)
        work.happened(Happened(EventKind.INBOX_ANSWERED, new.run))
    return new


def pause_of_token(work: Work, token: str) -> list[str]:
    """Follow no longer the pull requests whose messages are a revoked token's; return their ids."""
    mine = [one for one in list_pulls(work.tx) if token_behind(one.by) == token and (one.follow or one.mark)]
    for pull in mine:
        trouble = f"not followed any more: {pull.by} was revoked; pancode inbox pulls {pull.id} --follow"
        work.tx.put(replace(note_word(pull, False, done=False), trouble=trouble))
    return sorted(one.id for one in mine)


def change_pull(core: Core, name: str, decide: Callable[[WatchedPull], WatchedPull]) -> WatchedPull | None:
    """Apply a pure decision to the row as it is now, as a user's word may have changed it, and tell users of
    new items. Return the row; None if the pull request is no longer watched."""
    with unit_of_work(core) as work:
        there = work.tx.get(WatchedPull, name)
        if there is None or there.ended:
            return None
        row = decide(there)
        if row != there:
            work.tx.put(row)
            _tell_new(work, there, row)
    return row


def _tell_new(work: Work, before: WatchedPull, pull: WatchedPull) -> None:
    """Add an event for each item that waits for a user since this change."""
    known = {one.id for one in items_of(before) if needs_user(before, one)}
    for one in items_of(pull):
        if one.id not in known and needs_user(pull, one):
            data: dict[str, object] = {"kind": "pull request", "words": f"{pull.url}: {one.title}"}
            data |= {"command": command_for(pull, one.kind), "by": pull.by}
            work.happened(Happened(EventKind.INBOX_ITEM, pull.run, None, data))
    if pull.ended and not before.ended:
        if pull.state == PullStatus.MERGED and before.merging and before.merging == before.head:
            what = "pull request merged"
            work.audit("land", "info", what, pull.run, by=pull.by, url=pull.url, head=before.head)
        work.tell(pull.run, "land", f"pull request {pull.url}", pull.state)
