"""Routes for notices: the channels, and a test."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pancode.interfaces.http.access.rights import OPERATES
from pancode.interfaces.http.bodies import ActBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.notices import answers
from pancode.notices import service as asked
from pancode.notices.views import list_channels, list_failures

Word = Annotated[str, Field(min_length=1, max_length=2_000)]


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
def _test(context: ApiContext, call: ApiCall[ChannelBody]) -> answers.TestedChannel:
    """Send a test notice now."""
    return asked.send_test(context.core, context.coordinator.notify_rules(), call.body.channel, call.body.by)
