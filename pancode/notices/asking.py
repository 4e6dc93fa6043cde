"""Gives the notice of a question its link: a token that may answer this question, and ends with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pancode.access.tokens import create, revoke
from pancode.control.core import Core
from pancode.core.records import ApiToken, EventKind, FeedEvent
from pancode.core.visitors import NOTICE, AccessScope, NewToken
from pancode.errors import NotFoundError, UsageError
from pancode.notices.routing import NotifyRules
from pancode.notices.words import ASKS
from pancode.work.people.answering import items

LINK_MS = 3 * 86_400_000
PAGE = "answer"
BY = "the end of its question"


def with_link(core: Core, rules: NotifyRules, notice: Mapping[str, Any], channel: str) -> Mapping[str, Any]:
    """The notice with its link; unchanged where it asks nothing, links are off, or nothing waits any more.

    Made when it is sent: its secret is in no row.
    """
    run = notice.get(ASKS)
    if not run or not rules.answers or rules.console is None:
        return notice
    wanted = NewToken(NOTICE + core.ports.ids.short(8), (AccessScope.ANSWER,), LINK_MS, str(run))
    try:
        made = create(core, wanted, f"notice to {channel}"[:200])
    except UsageError:  # it was answered before the notice went out
        return notice
    return {**notice, "link": f"{rules.console.rstrip('/')}/{PAGE}#{made['token']}", "answers": True}


def forget_answered(core: Core, events: Iterable[FeedEvent] | None) -> None:
    """End the links of questions that wait no more. `events` None: more happened than is known."""
    if events is not None and all(event.kind is not EventKind.INBOX_ANSWERED for event in events):
        return
    with core.ports.ledger.transaction() as tx:
        tokens = [one for one in tx.find(ApiToken) if one.name.startswith(NOTICE)]
    waiting = {item["id"] for item in items(core)} if tokens else set()
    for token in tokens:
        if token.item not in waiting:
            try:
                revoke(core, token.name, BY)
            except NotFoundError:  # somebody has revoked it meanwhile
                continue
