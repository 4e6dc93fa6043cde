"""JSON shapes of notices. Clients rely on them, so keys are only added."""

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class ChannelShape(TypedDict):
    """A channel of notices. `trouble`: why its last message was not delivered; empty: no known trouble."""

    channel: str
    secret: str
    kinds: list[str]
    waiting: int
    last_tried_at: str | None
    last_sent_at: str | None
    trouble: str


class ChannelsAnswer(TypedDict):
    channels: list[ChannelShape]
    troubles: list[str]
    unknown_channels: list[str]
    """Channels that a rule names but the settings do not define."""


class TestedChannel(TypedDict):
    """A test notice that is being sent; `last_tried_at` of the channel says when it was tried."""

    channel: str
    created_at: str


CHANNELS = Route[ChannelsAnswer]("GET /v1/notify")
TEST_NOTICE = Route[TestedChannel]("POST /v1/notify/test")
