"""Verbs about the caller: the run from inside which it asks, tokens, codes for a browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from node_agent.wire.identity import AttemptId
from pancode.access import codes, keyed, tokens
from pancode.access.once import RequestMark
from pancode.access.run_rights import refuse, run_of
from pancode.access.token_shapes import MadeTokenShape, TokenShape
from pancode.control.core import Core
from pancode.core.records import ApiToken, KeyedRequest, Run
from pancode.core.visitors import AccessScope, NewToken
from pancode.work.people.answering import items


class CallerVerbs:
    def __init__(self, core: Core) -> None:
        self._core = core

    def run_of(self, attempts: Sequence[AttemptId]) -> Run | None:
        """The run to which these attempts belong, the outermost last; None: none is of this fleet."""
        return run_of(self._core.ports.ledger, attempts)

    def refuse(self, run: Run, verb: str) -> NoReturn:
        """Record that a run asked for something that only a person may ask; raises InsideRunError."""
        refuse(self._core, run, verb)


class RequestVerbs:
    """Requests that carry an idempotency key. After `begin` comes `answered` or `failed`, once."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def begin(self, mark: RequestMark) -> KeyedRequest | None:
        """The request that was answered already; None: it begins now. RefusedError."""
        return keyed.begin(self._core, mark)

    def answered(self, mark: RequestMark, status: int, answer: str) -> None:
        """It has this answer from now on."""
        keyed.answered(self._core, mark, status, answer)

    def failed(self, mark: RequestMark, refused: bool) -> None:
        """`refused`: it has begun nothing, and may be sent again."""
        keyed.failed(self._core, mark, refused)


class TokenVerbs:
    def __init__(self, core: Core) -> None:
        self._core = core

    def create(self, wanted: NewToken, by: str, asker: ApiToken | None = None) -> MadeTokenShape:
        """A token with its secret. `asker`: the token that asks for it, which gives no more than it has."""
        return tokens.create(self._core, wanted, by, asker)

    def show(self) -> list[TokenShape]:
        return tokens.listed(self._core)

    def shape(self, token: ApiToken) -> TokenShape:
        return tokens.shape(token)

    def revoke(self, name: str, by: str) -> list[str]:
        """The names of the schedules that are paused with it. NotFoundError."""
        return tokens.revoke(self._core, name, by)

    def check(self, secret: str) -> ApiToken:
        """The token with this secret. AccessError for one that is unknown or has expired."""
        return tokens.check(self._core, secret)

    def still_in_force(self, token: ApiToken) -> bool:
        return tokens.still_in_force(self._core, token)

    def item_waits(self, token: ApiToken) -> bool:
        """Whether the inbox item to which it is bound still waits for a person."""
        return any(item["id"] == token.item for item in items(self._core))

    def asked(self, name: str, verb: str, run: str | None) -> None:
        """Put on record that somebody asked over TCP for what changes something."""
        tokens.asked(self._core, name, verb, run)

    def make_code(self, scopes: tuple[AccessScope, ...], lasts_ms: int, by: str) -> str:
        """A code that a browser trades for a token."""
        return codes.make_code(self._core, scopes, lasts_ms, by)

    def has_browsers(self) -> bool:
        """Whether a browser has a session, or may yet begin one."""
        return codes.has_browsers(self._core)

    def trade(self, code: str) -> MadeTokenShape:
        """AccessError for a code that is unknown, used or too old."""
        return codes.trade(self._core, code)
