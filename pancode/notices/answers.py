"""JSON shapes of notices. Clients rely on them, so keys are only added."""

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class DeliveryShape(TypedDict):
    """A delivery: one message to one target. `status`: the target's last reply."""

    delivery: str
    target: str
    kind: str
    state: str
    tries: int
    status: str
    created_at: str
    next_at: str | None
    done_at: str | None


class ChannelShape(TypedDict):
    """A channel of notices. `trouble`: why its last message was not delivered; empty: no known trouble."""

    channel: str
    secret: str
    kinds: list[str]
    waiting: int
    last_sent_at: str | None
    trouble: str


class ChannelsAnswer(TypedDict):
    channels: list[ChannelShape]
    troubles: list[str]
    unknown_channels: list[str]
    """Channels that a rule names but the settings do not define."""


class DeliveriesAnswer(TypedDict):
    deliveries: list[DeliveryShape]


CHANNELS = Route[ChannelsAnswer]("GET /v1/notify")
TEST_NOTICE = Route[DeliveryShape]("POST /v1/notify/test")
DELIVERIES = Route[DeliveriesAnswer]("GET /v1/deliveries")
