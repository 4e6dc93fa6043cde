"""Routes of notices and webhooks: look, test, add, remove, deliver again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pancode.access.rights import OPERATES, REMOVES, SETS_UP
from pancode.api.context import ApiContext
from pancode.api.document.answers import (
    ChannelsAnswer,
    DeliveriesAnswer,
    DeliveryShape,
    RemovedAnswer,
    WebhooksAnswer,
    WebhookShape,
)
from pancode.api.request.bodies import ActBody
from pancode.api.routing import ApiCall, Verb
from pancode.core.visitors import AccessScope, allows
from pancode.errors import UsageError
from pancode.notices.asked import (
    add_webhook,
    check_webhook,
    deliver_again,
    fresh_secret,
    remove_webhook,
    send_test,
)
from pancode.notices.looking import channels, deliveries, troubles, webhooks

Word = Annotated[str, Field(min_length=1, max_length=2_000)]
MOST = 300


class ChannelBody(ActBody):
    channel: Word


class WebhookBody(ActBody):
    """`events` empty: every occasion."""

    name: Word
    url: Word
    events: tuple[Word, ...] = Field(default=(), max_length=50)


class DeliveryBody(ActBody):
    delivery: Word


def _channels(context: ApiContext, call: ApiCall) -> Any:
    rules, core = context.coordinator.notify_rules(), context.core
    unknown = list(rules.unknown_channels())
    shown = {"channels": channels(core, rules), "troubles": troubles(core, rules)}
    return {**shown, "unknown_channels": unknown}


def _test(context: ApiContext, call: ApiCall) -> Any:
    body: ChannelBody = call.body
    return send_test(context.core, context.coordinator.notify_rules(), body.channel, body.by)


def _webhooks(context: ApiContext, call: ApiCall) -> Any:
    """Whole addresses for whoever may add one: many services keep a secret in the path."""
    token = None if call.visitor is None else call.visitor.token
    admin = token is None or allows(token.scopes, AccessScope.ADMIN)
    return {"webhooks": webhooks(context.core, admin and call.inside is None)}


def _add(context: ApiContext, call: ApiCall) -> Any:
    body: WebhookBody = call.body
    check_webhook(body.name, body.url, body.events)
    context.coordinator.judge_webhook(body.url)
    secret = fresh_secret(context.core)
    made = add_webhook(context.core, body.name, body.url, body.events, body.by, secret)
    context.coordinator.keep_secret(f"webhook-{body.name}", secret)
    return made


def _remove(context: ApiContext, call: ApiCall) -> Any:
    name = call.path["webhook"]
    remove_webhook(context.core, name, call.body.by)
    context.coordinator.keep_secret(f"webhook-{name}", None)
    return {"removed": name}


def _deliveries(context: ApiContext, call: ApiCall) -> Any:
    target = call.query.get("target")
    if not target:
        fix = "target=webhook:NAME, or target=notify:CHANNEL"
        raise UsageError("the request names no target", fix=fix, code="bad_value")
    rules, limit = context.coordinator.notify_rules(), call.number("limit", 20, MOST)
    return {"deliveries": deliveries(context.core, target, limit, rules)}


def _again(context: ApiContext, call: ApiCall) -> Any:
    return deliver_again(context.core, call.body.delivery, call.body.by)


OUTGOING_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/notify", _channels, answers=ChannelsAnswer),
    Verb("POST", "/v1/notify/test", _test, ChannelBody, right=OPERATES, answers=DeliveryShape),
    Verb("GET", "/v1/webhooks", _webhooks, answers=WebhooksAnswer, asks_who=True),
    Verb("POST", "/v1/webhooks", _add, WebhookBody, status=201, right=SETS_UP, answers=WebhookShape),
    Verb("POST", "/v1/webhooks/{webhook}/remove", _remove, ActBody, right=REMOVES, answers=RemovedAnswer),
    Verb("GET", "/v1/deliveries", _deliveries, query=("target", "limit"), answers=DeliveriesAnswer),
    Verb("POST", "/v1/deliveries/again", _again, DeliveryBody, right=OPERATES, answers=DeliveryShape),
)
