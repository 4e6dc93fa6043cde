"""A person's verbs on notices and webhooks: test, add, remove, deliver again."""

from __future__ import annotations

import re

from pancode.kernel.errors import UsageError
from pancode.kernel.names import not_found
from pancode.kernel.records import Delivery, Webhook
from pancode.notices import store as rows
from pancode.notices import views as looking
from pancode.notices.answers import DeliveryShape, WebhookShape
from pancode.notices.pace import NOTIFY, WEBHOOK
from pancode.notices.rules import NotifyRules
from pancode.notices.signatures import check_events, secret_of
from pancode.notices.texts import Notice
from pancode.runs.core import Core
from pancode.runs.life.changes import OCCASIONS
from pancode.runs.unit_of_work import unit_of_work

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
KEY_BYTES = 32


def send_test(core: Core, rules: NotifyRules, channel: str, by: str) -> DeliveryShape:
    """Send a test notice now, also in quiet hours. NotFoundError."""
    if channel not in rules.channels:
        raise not_found("channel", channel, rules.channels, "pancode notify ls")
    now, target = core.wall_ms(), f"{NOTIFY}{channel}"
    body = Notice("test", "PanCode: a test", f"asked for by {by}"[:200], rules.console).row()
    one = Delivery(f"{target}:test-{now}", target, now, "test", body, now)
    with unit_of_work(core) as work:
        work.tx.insert(one)
        work.audit("fleet", "info", "notice tested", None, channel=channel, by=by)
    return looking.delivery(one)


def check_webhook(name: str, url: str, events: tuple[str, ...]) -> None:
    """UsageError for what cannot be a webhook. Where its address leads is judged at each post."""
    if not _NAME.fullmatch(name):
        fix = "pancode webhook add ci https://ci.example.org/hook"
        raise UsageError(f"{name[:80]!r} cannot be the name of a webhook", fix=fix, code="bad_name")
    if not re.fullmatch(r"https?://[^\s@#]+", url) or not url.isascii() or len(url) > 2_000:
        raise UsageError(
            f"{url[:200]!r} is no address of a webhook",
            why="it is http or https, without a password and without a fragment",
            fix="https://ci.example.org/hook",
            code="bad_value",
        )
    check_events(events)


def fresh_secret(core: Core) -> str:
    """Return a fresh secret, for who posts and who checks the signature."""
    return secret_of(bytes.fromhex(core.ports.ids.token(KEY_BYTES)))


def tracker_secret(core: Core, project: str, by: str, given: str | None) -> str:
    """Return the secret with which a project's tracker signs: its own, or a new one. The audit notes it."""
    with unit_of_work(core) as work:
        work.audit("trust", "info", "secret of a tracker's webhook", None, by=by, project=project)
    return given or fresh_secret(core)


def add_webhook(
    core: Core, name: str, url: str, events: tuple[str, ...], by: str, secret: str
) -> WebhookShape:
    """Add a webhook; only this answer has its secret. ConflictError where the name is taken."""
    hook = Webhook(name, url, core.wall_ms(), by, events or OCCASIONS)
    with unit_of_work(core) as work:
        rows.add_webhook(work, hook)
        work.audit("fleet", "info", "webhook added", None, webhook=name, by=by)
    with core.ports.ledger.transaction() as tx:
        return looking.webhook(tx, hook, secret)


def remove_webhook(core: Core, name: str, by: str) -> None:
    """Remove a webhook with its deliveries. NotFoundError."""
    with core.ports.ledger.transaction() as tx:
        rows.webhook(tx, name)
    with unit_of_work(core) as work:
        rows.remove(work, name, f"{WEBHOOK}{name}")
        work.audit("fleet", "info", "webhook removed", None, webhook=name, by=by)


def deliver_again(core: Core, delivery: str, by: str) -> DeliveryShape:
    """Send a delivery once more, under its id. NotFoundError."""
    with unit_of_work(core) as work:
        found = rows.again(work, delivery, core)
        work.audit("fleet", "info", "delivered again", None, delivery=delivery, by=by)
    return looking.delivery(found)
