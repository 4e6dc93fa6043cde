"""Decides what follows from the state of a pull request: items, messages, a merge, and the next step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from node_agent.wire.failure import Outcome
from pancode.agents.prompts import digest_of, present_material
from pancode.git.pull_state import CheckResult, PullRemark, PullState, PullStatus, ReviewVerdict
from pancode.kernel.declared import to_json
from pancode.kernel.formatting import count_noun, escape_line, reveal_invisible
from pancode.kernel.records import Run, RunState
from pancode.kernel.values import replace
from pancode.pull_requests.model import CAUSES, PullItem, PullItemKind, PullRules, WatchedPull, items_of
from pancode.runs.facts import LandingTerms
from pancode.runs.life.conversation import has_change, is_blocked
from pancode.runs.receipts.trust import WAITING

MOST_ROUNDS = 3
"""How many messages are sent without a user's word."""
MOST_ITEMS, MOST_TEXT, MOST_MESSAGE = 20, 2_000, 8_000
"""The most items of a pull request, and the most characters of an item's text and of a message's material."""
MOST_STRANGERS = 3
"""The most items about people who may not start work, so that they cannot fill the inbox."""
SETTLE_MS = 600_000
"""For how many milliseconds checks that still run hold back a message about those that have failed."""
STABLE_MS = 60_000
"""For how many milliseconds a head commit must be known before it is merged."""
_UNREAD = "cannot be read: "
"""How a trouble begins that the next complete answer of the forge ends."""
_CUT = " ... (cut)"
_ROUND = "round-"
_STANDING = ("check-", "ready-")
"""How the ids of those items begin that end when the forge no longer shows them."""


def clean_text(text: str, most: int = MOST_TEXT) -> str:
    """Return a text of the forge with invisible characters spelled out, cut to `most` characters."""
    text = text.replace("\r\n", "\n").strip()
    shown = reveal_invisible(text[:most])
    return shown if max(len(text), len(shown)) <= most else shown[: most - len(_CUT)] + _CUT


def note_state(pull: WatchedPull, state: PullState, rules: PullRules, now_ms: int) -> WatchedPull:
    """Return the pull request with what its forge shows now: new items are added, settled ones removed.

    Checks count for the head commit only. A remark of a named person counts once, on whichever commit it was
    made; what others write never counts.
    """
    if state.status is not PullStatus.OPEN:
        return replace(
            pull, state=state.status.value, looked_ms=now_ms, items=(), mark="", trouble="", ended=True
        )
    if state.head != pull.head:
        pull = replace(pull, head=state.head, head_ms=now_ms)
    found = {one.id: one for one in _list_items(state, rules)}
    withdrawn = {one.id for one in state.remarks if one.verdict is ReviewVerdict.CHANGES} - found.keys()
    kept = [
        one
        for one in items_of(pull)
        if one.id in found or not (one.id.startswith(_STANDING) or one.id in withdrawn)
    ]
    # A check that ran again on the same commit, and failed again, is news.
    seen = [one for one in pull.seen if one in found or not one.startswith(_STANDING)]
    ready = state.head if is_ready(state, rules) else ""
    if not pull.mark and not (ready and rules.merges):
        pull = replace(pull, trouble="")  # the message, push or merge that had it is not under way
    strangers = sum(one.kind is PullItemKind.STRANGER for one in kept)
    fresh = list[PullItem]()
    for one in (one for one in found.values() if one.id not in seen):
        is_stranger = one.kind is PullItemKind.STRANGER
        if len(kept) + len(fresh) < MOST_ITEMS and (not is_stranger or strangers < MOST_STRANGERS):
            strangers += is_stranger
            fresh.append(one)
    pull = replace(
        with_items(pull, [*kept, *fresh]),
        state=", ".join(filter(None, (state.status.value, escape_line(state.held)[:60]))),
        seen=(*seen, *(one.id for one in fresh)),
        looked_ms=now_ms,
        ready=ready,
    )
    return note_reading(pull, state.trouble)


def note_reading(pull: WatchedPull, why: str) -> WatchedPull:
    """Return the pull request after it was read. `why`: what could not be read. The trouble of a message, a
    push or a merge stays."""
    if pull.trouble and not pull.trouble.startswith(_UNREAD):
        return pull
    return replace(pull, trouble=f"{_UNREAD}{why}" if why else "")


def with_items(pull: WatchedPull, items: Sequence[PullItem]) -> WatchedPull:
    """Return the pull request with these items."""
    return replace(pull, items=tuple(map(to_json, items)))


def _list_items(state: PullState, rules: PullRules) -> Iterator[PullItem]:
    """Yield an item for each failed check, each remark that counts, and an approval of the head."""
    for check in state.checks:
        if check.result is CheckResult.FAILED:
            name, url = escape_line(check.name)[:100], escape_line(check.url)[:300]
            title = f"check {name} failed{f': {url}' if url else ''}"
            item = f"check-{digest_of(check.name)[:16]}-{state.head}"
            yield PullItem(item, PullItemKind.CHECK, title, clean_text(check.text))
    latest = latest_verdicts(state)
    for remark in state.remarks:
        asks = remark.verdict is ReviewVerdict.CHANGES
        if asks and latest[remark.author.lower()] is not remark:
            continue  # its author has said something else since
        named = remark.author.lower() in rules.people
        says = remark.verdict is ReviewVerdict.NONE and bool(remark.text.strip())
        if not asks and not (named and says):
            continue
        who = escape_line(remark.author)[:100] or "somebody"
        where = f" at {escape_line(remark.where)[:200]}" if remark.where else ""
        title = f"{who} requests changes" if asks else f"{who} writes{where}"
        title += "" if named else ", and is not named by the project"
        kind = PullItemKind.REMARK if named else PullItemKind.STRANGER
        yield PullItem(remark.id, kind, title, clean_text(remark.text))
    if is_ready(state, rules):
        checks = "all checks passed" if state.checks else "it has no checks"
        yield PullItem(f"ready-{state.head}", PullItemKind.READY, f"approved, {checks}")


def latest_verdicts(state: PullState) -> dict[str, PullRemark]:
    """Return the newest verdict of each author, by login in lower case."""
    return {one.author.lower(): one for one in state.remarks if one.verdict is not ReviewVerdict.NONE}


def is_ready(state: PullState, rules: PullRules) -> bool:
    """Whether a named person has approved the head commit, none requests changes, every check of it has
    passed, and the forge would merge it."""
    verdicts = [one for author, one in latest_verdicts(state).items() if author in rules.people]
    approved = any(one.verdict is ReviewVerdict.APPROVED and one.is_current for one in verdicts)
    against = any(one.verdict is ReviewVerdict.CHANGES for one in verdicts)
    passed = all(one.result is CheckResult.PASSED for one in state.checks)
    return approved and not against and passed and not state.held and not state.trouble


def may_merge(pull: WatchedPull, state: PullState, rules: PullRules, now_ms: int) -> bool:
    """Whether to merge the head commit now: the project says so, it is approved, it has passed checks, and
    its forge has had `STABLE_MS` to begin all checks."""
    fits = pull.ready == state.head and bool(state.checks) and now_ms - pull.head_ms >= STABLE_MS
    return rules.merges and fits and not pull.ended and not pull.mark


def note_refusal(pull: WatchedPull, head: str, why: str) -> WatchedPull:
    """Return the pull request after the forge refused to merge this commit, which becomes an item once."""
    item = PullItem(f"merge-{head}", PullItemKind.MERGE, "the forge did not merge it", clean_text(why))
    items = [*(one for one in items_of(pull) if one.id != item.id), item]
    return replace(with_items(pull, items), merging="")


def begin_round(pull: WatchedPull, state: PullState, now_ms: int) -> WatchedPull:
    """Return the pull request with a message to send, if its items cause one; else unchanged.

    No message is sent unless it is followed, while a round is under way, after a failed round or
    `MOST_ROUNDS` without a user's word, or while checks still run (for at most `SETTLE_MS`).
    """
    causes = [one for one in items_of(pull) if one.kind in CAUSES and not one.is_sent]
    runs = any(one.result is CheckResult.PENDING for one in state.checks)
    waits = runs and now_ms - pull.head_ms < SETTLE_MS
    has_failed = any(one.kind is PullItemKind.ROUND for one in items_of(pull))
    rests = pull.mark or has_failed or pull.rounds >= MOST_ROUNDS
    if not pull.follow or rests or waits or not causes:
        return pull
    parts, sent, size = list[str](), set[str](), 0
    for one in causes:
        part = f"{one.title}\n{one.text}".strip()
        size += len(part)
        if size > MOST_MESSAGE:
            parts.append("and more, on the pull request")
            break
        parts.append(part)
        sent.add(one.id)
    number, material = pull.rounds + 1, "\n\n".join(parts)
    mark = digest_of(f"{pull.id} {number} {now_ms} {material}")[:16]
    what = "what its forge shows: the output of checks, and what named people wrote"
    text = (
        f"Pull request {pull.url} has your change, and {count_noun(len(sent), 'item')} to settle "
        f"(message {mark}, round {number} of {MOST_ROUNDS}). Change the files so that the checks pass and "
        f"the remarks are settled, and nothing beside that; where a remark is wrong, say so at the end. "
        f"{present_material(what, material)}"
    )
    marked = [replace(one, is_sent=one.is_sent or one.id in sent) for one in items_of(pull)]
    return replace(with_items(pull, marked), rounds=number, mark=mark, message=text, worker="")


def may_send(newest: Run) -> bool:
    """Whether the newest run of the change takes a message now: it has ended without a question, or is a
    session's. A plain run is not disturbed while it works."""
    return newest.takes_turns or (newest.state is RunState.ENDED and not is_blocked(newest))


class NextStep(StrEnum):
    """What to do next in a round whose message was sent."""

    WAIT = "wait"
    SUSPEND = "suspend"
    LAND = "land"
    PUSH = "push"
    FAILED = "failed"


def next_step(pull: WatchedPull, newest: Run) -> tuple[NextStep, str]:
    """Return the next step, and why if the round has failed. `newest`: the newest run of the change."""
    landing: Mapping[str, object] = newest.landing
    if newest.state is not RunState.ENDED:
        return (NextStep.SUSPEND if newest.takes_turns else NextStep.WAIT), ""
    if is_blocked(newest):
        return NextStep.WAIT, ""
    if newest.landed is not None:
        at = str(landing.get("branch") or "")
        other = f"{newest.id} has landed on {at or 'files'}, not on {pull.branch}"
        return (NextStep.PUSH, "") if at == pull.branch else (NextStep.FAILED, other)
    if newest.outcome is not Outcome.DONE:
        return NextStep.FAILED, f"{newest.id} ended {newest.outcome}: {newest.reason}"
    if not has_change(newest):
        return NextStep.FAILED, f"{newest.id} changed nothing"
    if landing.get("status") == WAITING:
        return NextStep.WAIT, ""
    by_hand = f"pancode land {newest.id} --push {pull.remote} {pull.branch}"
    if LandingTerms.of(newest).autonomy:
        return NextStep.FAILED, f"the change of {newest.id} needs a user's approval: {by_hand}"
    if not landing.get("status"):
        return NextStep.LAND, ""
    why = landing.get("why") or landing.get("status")
    return NextStep.FAILED, f"{newest.id} was not landed: {why}; then: {by_hand}"


def end_round(pull: WatchedPull, why: str = "") -> WatchedPull:
    """Return the pull request after its round. `why`: the reason of a failure, which becomes an item; empty:
    the result is pushed, which settles the items that were sent."""
    items = [one for one in items_of(pull) if why or not one.is_sent]
    if why:
        title = f"round {pull.rounds} failed"
        items.append(PullItem(f"{_ROUND}{pull.mark}", PullItemKind.ROUND, title, clean_text(why)))
    return replace(with_items(pull, items), mark="", trouble="")


def note_word(pull: WatchedPull, follow: bool | None, done: bool, newest: Run | None = None) -> WatchedPull:
    """Return the pull request after a user's word. `done`: its items are settled. `follow`: send its items,
    also those that were sent before; False: send nothing more, and do not push what is under way. `newest`:
    the newest run of the change; if it has landed after a failed round, its result is pushed first."""
    items = () if done else items_of(pull)
    if follow is None:
        return with_items(pull, items)
    if follow:
        failed = [one for one in items if one.kind is PullItemKind.ROUND]
        if failed and pull.worker and newest and next_step(pull, newest)[0] is NextStep.PUSH:
            pull = replace(pull, mark=failed[-1].id.removeprefix(_ROUND))
        items = tuple(one for one in items if one not in failed)
        pull = replace(pull, rounds=0)
    else:
        pull = replace(pull, mark="")
    items = items if pull.mark else tuple(replace(one, is_sent=False) for one in items)
    return replace(with_items(pull, items), follow=follow)


def needs_user(pull: WatchedPull, item: PullItem) -> bool:
    """Whether the item waits for a user: the agent does not get it without a word, or cannot get it now."""
    if item.is_sent:
        return bool(pull.mark and not pull.worker and pull.trouble)
    return not (pull.follow and item.kind in CAUSES and pull.rounds < MOST_ROUNDS)


def command_for(pull: WatchedPull, kind: PullItemKind) -> str:
    """Return the command with which a user answers an item of this kind."""
    also = "" if kind in (PullItemKind.READY, PullItemKind.STRANGER) else " --follow"
    return f"pancode inbox pulls {pull.id}{also}"
