"""Routes for notices: the channels, a test, and sent messages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pancode.interfaces.http.access.rights import OPERATES
from pancode.interfaces.http.bodies import ActBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.errors import UsageError
from pancode.notices import answers
from pancode.notices import service as asked
from pancode.notices.views import list_channels, list_deliveries, list_failures

Word = Annotated[str, Field(min_length=1, max_length=2_000)]
MOST = 300


class ChannelBody(ActBody):
    channel: Word


@Verb(answers.CHANNELS, command="admin notify")
def _channels(context: ApiContext, call: ApiCall) -> answers.ChannelsAnswer:
    """Return the channels of notices."""
    rules, core = context.coordinator.notify_rules(), context.core
    unknown = list(rules.unknown_channels())
    return {
        "channels": list_channels(core, rules),
        "troubles": list_failures(core, rules),
        "unknown_channels": unknown,
    }


@Verb(answers.TEST_NOTICE, ChannelBody, "admin notify", right=OPERATES)
def _test(context: ApiContext, call: ApiCall) -> answers.DeliveryShape:
    """Send a test notice now."""
    body: ChannelBody = call.body
    return asked.send_test(context.core, context.coordinator.notify_rules(), body.channel, body.by)


@Verb(answers.DELIVERIES, command="admin notify", query=("target", "limit"))
def _deliveries(context: ApiContext, call: ApiCall) -> answers.DeliveriesAnswer:
    """Return the messages sent to a target."""
    target = call.query.get("target")
    if not target:
        raise UsageError("the request has no target", fix="target=notify:CHANNEL", code="bad_value")
    rules, limit = context.coordinator.notify_rules(), call.number("limit", 20, MOST)
    return {"deliveries": list_deliveries(context.core, target, limit, rules)}
