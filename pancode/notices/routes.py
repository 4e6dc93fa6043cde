"""Routes of notices and webhooks: look, test, add, remove, deliver again."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from pancode.interfaces.http.access.rights import OPERATES, REMOVES, SETS_UP
from pancode.interfaces.http.bodies import ActBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, RemovedAnswer, Verb
from pancode.kernel.errors import UsageError
from pancode.kernel.visitors import AccessScope, allows
from pancode.notices import service as asked
from pancode.notices.answers import ChannelShape, DeliveryShape, WebhookShape
from pancode.notices.views import channels, deliveries, troubles, webhooks

Word = Annotated[str, Field(min_length=1, max_length=2_000)]
MOST = 300


class ChannelsAnswer(TypedDict):
    channels: list[ChannelShape]
    troubles: list[str]
    unknown_channels: list[str]
    """Channels that a rule names, but that the settings do not have."""


class WebhooksAnswer(TypedDict):
    webhooks: list[WebhookShape]


class DeliveriesAnswer(TypedDict):
    deliveries: list[DeliveryShape]


class ChannelBody(ActBody):
    channel: Word


class WebhookBody(ActBody):
    """`events` empty: for every occasion."""

    name: Word
    url: Word
    events: tuple[Word, ...] = Field(default=(), max_length=50)


class DeliveryBody(ActBody):
    delivery: Word


@Verb("GET /v1/notify", command="notify ls")
def _channels(context: ApiContext, call: ApiCall) -> ChannelsAnswer:
    """Channels of notices."""
    rules, core = context.coordinator.notify_rules(), context.core
    unknown = list(rules.unknown_channels())
    return {"channels": channels(core, rules), "troubles": troubles(core, rules), "unknown_channels": unknown}


@Verb("POST /v1/notify/test", ChannelBody, "notify test", right=OPERATES)
def _test(context: ApiContext, call: ApiCall) -> DeliveryShape:
    """Send a notice now."""
    body: ChannelBody = call.body
    return asked.send_test(context.core, context.coordinator.notify_rules(), body.channel, body.by)


@Verb("GET /v1/webhooks", command="webhook ls", asks_who=True)
def _webhooks(context: ApiContext, call: ApiCall) -> WebhooksAnswer:
    """All webhooks.

    Whole addresses for whoever may add one: many services keep a secret in the path.
    """
    token = None if call.visitor is None else call.visitor.token
    admin = token is None or allows(token.scopes, AccessScope.ADMIN)
    return {"webhooks": webhooks(context.core, admin and call.inside is None)}


@Verb("POST /v1/webhooks", WebhookBody, "webhook add", status=201, right=SETS_UP)
def _add(context: ApiContext, call: ApiCall) -> WebhookShape:
    """Make one; its secret is told once."""
    body: WebhookBody = call.body
    asked.check_webhook(body.name, body.url, body.events)
    context.coordinator.judge_webhook(body.url)
    secret = asked.fresh_secret(context.core)
    made = asked.add_webhook(context.core, body.name, body.url, body.events, body.by, secret)
    context.coordinator.keep_secret(f"webhook-{body.name}", secret)
    return made


@Verb("POST /v1/webhooks/{webhook}/remove", ActBody, "webhook rm", right=REMOVES)
def _remove(context: ApiContext, call: ApiCall) -> RemovedAnswer:
    """Remove it."""
    name = call.path["webhook"]
    asked.remove_webhook(context.core, name, call.body.by)
    context.coordinator.keep_secret(f"webhook-{name}", None)
    return {"removed": name}


@Verb("GET /v1/deliveries", command="webhook deliveries", query=("target", "limit"))
def _deliveries(context: ApiContext, call: ApiCall) -> DeliveriesAnswer:
    """What a target was sent."""
    target = call.query.get("target")
    if not target:
        fix = "target=webhook:NAME, or target=notify:CHANNEL"
        raise UsageError("the request names no target", fix=fix, code="bad_value")
    rules, limit = context.coordinator.notify_rules(), call.number("limit", 20, MOST)
    return {"deliveries": deliveries(context.core, target, limit, rules)}


@Verb("POST /v1/deliveries/again", DeliveryBody, "webhook redeliver", right=OPERATES)
def _again(context: ApiContext, call: ApiCall) -> DeliveryShape:
    """Send one once more."""
    return asked.deliver_again(context.core, call.body.delivery, call.body.by)
