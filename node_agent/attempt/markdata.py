"""The facts that each mark of an attempt's journal leaves for the steps after it: plain JSON, by name."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

ChangeKind = Literal["change", "no_change", "empty", "none"]


class MarkData(TypedDict, total=False):
    """Facts that any mark may have."""

    fault: list[str] | None
    """Kind and reason of the failure so far."""
    why: str
    """The reason of a refusal, a rejection, or an acknowledgement without a receipt."""
    findings: list[str]
    """Sentences for the receipt."""


class AcceptedData(MarkData, total=False):
    session: str
    """The start of the node agent that accepted the order."""
    at: list[int] | None
    """Fleet time: epoch, milliseconds."""
    wall: int


class PreparedData(MarkData, total=False):
    enforced: list[list[str]]
    """Each rule of the policy with its holder."""
    isolation: str
    version: str | None
    """Of the agent program."""
    served: dict[str, Any] | None
    """Wire form of node_agent.wire.receipt.Served."""
    prompt: str
    """Digest of all instructions."""
    gateway: bool
    """Its model calls go through one of ours."""
    boot: str
    """The start of the machine in which its files were laid out."""
    cache: str | None
    """The key under which the result of set-up is kept."""
    restored: bool
    """The result of an earlier set-up was put in place."""


class ExitedData(MarkData, total=False):
    began: int
    ended: int
    """Wall clock, of the phases up to the agent's end."""
    code: int | None
    signal: int | None
    answer: str
    session: str | None
    model: str | None
    usage: dict[str, Any]
    claimed: dict[str, Any]
    """The runtime's own usage, where the gateway counted."""
    calls: dict[str, Any]
    """Wire form of node_agent.wire.receipt.ModelCalls."""
    tools: dict[str, int]
    question: dict[str, Any]
    """Wire form of node_agent.wire.receipt.PersonQuestion."""
    board: list[dict[str, Any]]
    """Wire form of node_agent.wire.order.BoardEntry: the values that the agent has written."""


class CommittedData(MarkData, total=False):
    kind: ChangeKind
    commit: str | None
    files: list[str]
    exposed: list[list[str]]
    """Each secret by name with the file that holds its value."""


class GatedData(MarkData, total=False):
    gates: list[dict[str, Any]]
    """Wire form of node_agent.wire.receipt.GateResult."""
    score: str
    """The number of the score command."""
    reports: list[dict[str, Any]]
    """Wire form of node_agent.wire.receipt.GateReport."""


class PushedData(MarkData, total=False):
    blobs: list[dict[str, Any]]
    """Wire form of node_agent.wire.receipt.Blob."""
    delivered: bool
    """The depot has the commit."""
