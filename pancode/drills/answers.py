"""The API's answer about the faults of a drill."""

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class FaultAnswer(TypedDict):
    """An injected fault. `noticed_ms`: after how many ms the coordinator noticed it; null: not known yet."""

    node: str
    fault: str
    noticed_ms: int | None


FAULT = Route[FaultAnswer]("POST /v1/nodes/{node}/fault")
