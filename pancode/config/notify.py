"""The settings of notices: channels, rules, quiet hours."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pancode.config.secrets import SecretShownError
from pancode.config.values import Texts
from pancode.errors import UsageError
from pancode.notices.routing import USUAL, NoticeKind, NoticeRoute, NotifyRules, QuietHours
from pancode.work.schedule.times import zone_of

SECRET = "secret:"
_QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)(?: (\S+))?")


def _secret(text: str) -> str:
    """ValueError for an address itself, which holds a password."""
    name = text.removeprefix(SECRET)
    if name == text or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
        raise SecretShownError(
            "an address of a channel holds a password, so it is only named: url: secret:phone. "
            "Fix: pancode notify secret phone"
        )
    return text


def _quiet(text: str) -> str:
    found = _QUIET.fullmatch(text)
    if found is None:
        raise ValueError("quiet hours are written as 22:00-07:00 Europe/Berlin")
    try:
        zone_of(found[5] or "UTC")
    except UsageError as exc:
        raise ValueError(f"{exc}; {exc.fix}") from exc
    return text


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class NotifyChannel(_Part):
    """One way to reach a person. `url`: `secret:NAME`, the address in Apprise's words, kept by its name."""

    url: Annotated[str, AfterValidator(_secret)]


class NotifyRule(_Part):
    """What goes to which channels; what is left out counts for all."""

    to: Texts
    kinds: Annotated[tuple[NoticeKind, ...], Field(strict=False)] = USUAL
    agents: Texts = ()
    nodes: Texts = ()
    repositories: Texts = ()


class Notify(_Part):
    """Notices to people. Without rules every channel gets all but `ended_well`.

    `quiet`: hours in which nothing is sent but what `urgent` names; it is sent afterwards. `console`: the
    address of the web console, for links. `answers`: the notice of a question has a link that answers it, if
    `console` is an HTTPS address or on this machine, and `api.listen` is set.
    """

    channels: dict[str, NotifyChannel] = {}
    rules: Annotated[tuple[NotifyRule, ...], Field(strict=False)] = ()
    quiet: Annotated[str, AfterValidator(_quiet)] | None = None
    urgent: Annotated[tuple[NoticeKind, ...], Field(strict=False)] = ()
    console: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    answers: bool = True

    def routes(self, is_open: bool = False) -> NotifyRules:
        """The form that decisions take. `is_open`: a browser reaches the API."""
        rules = tuple(
            NoticeRoute(rule.to, rule.kinds, rule.agents, rule.nodes, rule.repositories)
            for rule in self.rules
        )
        return NotifyRules(
            channels={name: one.url.removeprefix(SECRET) for name, one in self.channels.items()},
            routes=rules or (NoticeRoute(tuple(self.channels)),),
            quiet=None if self.quiet is None else _hours(self.quiet),
            urgent=self.urgent,
            console=self.console,
            answers=self.answers and is_open and _is_private(self.console),
        )


def _is_private(console: str | None) -> bool:
    """Whether nobody on the way there can read along."""
    parts = urlsplit(console or "")
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def _hours(text: str) -> QuietHours:
    found = _QUIET.fullmatch(text)
    assert found is not None  # the settings were checked
    begin, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    return QuietHours(begin, end, found[5] or "UTC")
