"""The prompt that a run was given; and the runtime for which an agent's prompt is shown."""

from __future__ import annotations

from collections.abc import Mapping

from pancode.agents.answers import RunPromptAnswer
from pancode.agents.default_worker import find_workers
from pancode.agents.endpoints import endpoint_of, fleets_model
from pancode.agents.prompts import digest_of, window_of
from pancode.agents.runtimes import OUR_OWN, RUNTIMES, resolve_alias, runtime_for
from pancode.agents.tiers import ModelTier
from pancode.kernel.errors import NotFoundError
from pancode.runs.core import Core
from pancode.runs.views import find_run


def read_prompt(core: Core, text: str) -> RunPromptAnswer:
    """Return the prompt of a run as it was dispatched. NotFoundError for a user's own program."""
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, text)
    if RUNTIMES[run.runtime].own:
        raise NotFoundError(f"{run.id} has no prompt", why=f"it ran {run.runtime}", fix="pancode runs")
    return {"run": run.id, "agent": run.agent, "digest": digest_of(run.prompt), "text": run.prompt}


def program_for(
    core: Core, model: str | None, named: str | None, usual: str | None, tiers: Mapping[str, ModelTier]
) -> tuple[str, int | None]:
    """Return the named runtime, else the one that the model requires; and the model's context window, if
    known. `usual`: the runtime of the agent or the settings; None: any that is ready."""
    with core.ports.ledger.transaction() as tx:
        nodes = core.views(tx)
    if model is None and not named and not usual:
        ready = find_workers(None, nodes, tiers)
        model, usual = (ready[0].model, ready[0].runtime) if ready else (None, None)
    usual = usual or OUR_OWN
    if model is None:
        return resolve_alias(named or usual), None
    ref = fleets_model(model, nodes)
    endpoint = endpoint_of(ref, nodes)
    theirs = runtime_for(ref) if endpoint is None else OUR_OWN
    return resolve_alias(named or theirs or usual), window_of(ref, endpoint, nodes)
