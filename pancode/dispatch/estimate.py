"""Estimates a run's usage; its first attempt holds this much of the budgets."""

from __future__ import annotations

from decimal import Decimal

from pancode.agents.endpoints import EndpointNeed, costs_nothing
from pancode.agents.request import Catalogue, DispatchRequest
from pancode.agents.runtimes import RuntimeKind
from pancode.core.books import Amount
from pancode.dispatch.limits import RunLimits


def estimate(
    request: DispatchRequest,
    catalogue: Catalogue,
    worker: tuple[str, RuntimeKind, str | None],
    limits: RunLimits,
) -> Amount:
    """The estimate in each currency, never above the run's own limit; own programs ask no model."""
    (agent, runtime, model), defaults = worker, catalogue.defaults
    if runtime.own:
        return Amount(_own_cost(request, limits.usd), 0, min(defaults.estimate_ms, limits.wall_ms))
    found = catalogue.expect and catalogue.expect(agent, runtime.name, model, request.task)
    usd = defaults.estimate_usd if found is None or found.usd is None else found.usd
    unknown = Amount(ms=defaults.estimate_ms, tokens=defaults.estimate_tokens)
    usual = unknown if found is None or not found.amount.tokens else found.amount
    tokens = usual.tokens if limits.tokens is None else min(usual.tokens, limits.tokens)
    usd = usd if limits.usd is None else min(usd, limits.usd)
    return Amount(usd, tokens, min(usual.ms, limits.wall_ms))


def evidence(
    request: DispatchRequest, catalogue: Catalogue, worker: tuple[str, RuntimeKind, str | None]
) -> str:
    """The runs behind the estimate, in words; empty: the estimate is a setting."""
    agent, runtime, model = worker
    if runtime.own or catalogue.expect is None:
        return ""
    found = catalogue.expect(agent, runtime.name, model, request.task)
    return "" if found is None else found.words


def is_free(wanted: EndpointNeed | None, catalogue: Catalogue) -> bool:
    """Whether the run costs nothing, because it uses the fleet's own endpoint; placement checks its node
    again."""
    return wanted is not None and costs_nothing(catalogue.nodes, wanted.endpoint, wanted.model)


def _own_cost(request: DispatchRequest, cap: Decimal | None) -> Decimal:
    """The user's own programs cost nothing unless the user says what they may cost."""
    return min(request.budget, cap or request.budget) if request.budget is not None else Decimal(0)
