"""Sampling parameters of a model, such as temperature. Light: our own worker reads it, too."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from node_agent.wire.model import Share, WireModel


class Sampling(WireModel):
    """The sampling settings of a model; None: the model server's own."""

    temperature: Annotated[Share, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Share, Field(gt=0, le=1)] | None = None
    top_k: int | None = Field(default=None, ge=1, le=1_000_000)
    presence_penalty: Annotated[Share, Field(ge=-2, le=2)] | None = None
