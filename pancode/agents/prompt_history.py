"""Tells which prompts the runs of an agent were given: the text of one run, and each text over time."""

from __future__ import annotations

from typing_extensions import TypedDict

from pancode.agents.endpoints import endpoint_of, fleets_model
from pancode.agents.prompt_fit import window_of
from pancode.agents.prompts import digest_of, without_notes
from pancode.agents.runtimes import OUR_OWN, RUNTIMES, canonical, runtime_for
from pancode.kernel.errors import NotFoundError
from pancode.kernel.records import Run
from pancode.runs.core import Core
from pancode.runs.views import at, find_run

LOOKED_AT = 2_000
"""How many of the newest runs are looked at for the versions of an agent's prompt."""


class PromptVersion(TypedDict):
    """One text that an agent was given; `run`: the newest run with it."""

    digest: str
    runs: int
    first_at: str
    last_at: str
    run: str


class RunPromptAnswer(TypedDict):
    """The prompt as the run was dispatched; what its node adds (AGENTS.md) is in the digest of the
    receipt."""

    run: str
    agent: str
    digest: str
    text: str


def told_prompt(core: Core, text: str) -> RunPromptAnswer:
    """Return the prompt of a run, as it was dispatched. NotFoundError for a user's own program."""
    with core.ports.ledger.transaction() as tx:
        run = find_run(tx, text)
    if RUNTIMES[run.runtime].own:
        raise NotFoundError(f"{run.id} has no prompt", why=f"it ran {run.runtime}", fix="pancode runs")
    return {"run": run.id, "agent": run.agent, "digest": digest_of(run.prompt), "text": run.prompt}


def versions(core: Core, agent: str, limit: int) -> list[PromptVersion]:
    """Return each prompt that runs of the agent were given, without notes of earlier runs; newest first."""
    with core.ports.ledger.transaction() as tx:
        rows = tx.find(Run, order="created_ms", descending=True, limit=LOOKED_AT)
    by_text: dict[str, list[Run]] = {}
    for run in rows:
        if run.agent == agent and run.prompt:
            by_text.setdefault(without_notes(run.prompt), []).append(run)
    return [_version(text, runs) for text, runs in by_text.items()][:limit]


def program_for(core: Core, model: str | None, named: str | None, usual: str) -> tuple[str, int | None]:
    """Return the runtime that a model asks for, if none is named, and the model's window, if known."""
    if model is None:
        return canonical(named or usual), None
    with core.ports.ledger.transaction() as tx:
        nodes = core.views(tx)
    ref = fleets_model(model, nodes)
    endpoint = endpoint_of(ref, nodes)
    theirs = runtime_for(ref) if endpoint is None else OUR_OWN
    return canonical(named or theirs or usual), window_of(ref, endpoint, nodes)


def _version(text: str, runs: list[Run]) -> PromptVersion:
    newest, oldest = runs[0], runs[-1]
    return {
        "digest": digest_of(text),
        "runs": len(runs),
        "first_at": at(oldest.created_ms),
        "last_at": at(newest.created_ms),
        "run": newest.id,
    }
