"""Changes a session's mode, level or model from its next interactive run on; a higher level requires
approval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node_agent.wire.policy import Mode, Safety, is_bypass_mode
from pancode.agents.runtimes import RUNTIMES
from pancode.config.changes import AskedChange, ChangeEffect, must_be_agreed
from pancode.kernel.errors import RefusedError, UsageError
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.runs.admission.gates import first_refused, refusal_error
from pancode.runs.core import Core
from pancode.runs.dispatch import dry_run
from pancode.runs.life.conversation import InteractiveTerms, as_interactive_run, read_terms, terms_of
from pancode.runs.life.waits import TermsAsked
from pancode.runs.retry import in_request, request_of, unpin_request
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.user_environment import SettingSaid, Surroundings
from pancode.sessions.session import SessionChain, load_chain

TRIES = 3
"""How often the change is tried, because another user may change the terms at the same moment."""
_OF_TERMS = ("mode", "mutation", "safety", "agent", "routing")
"""The gates that check terms now; budget, paths and task are checked when the next interactive run starts."""


def set_terms(
    core: Core, around: Surroundings, text: str, change: Mapping[str, Any], by: str, approved: bool = False
) -> Run:
    """Set the terms of the session's next interactive run; a running one is suspended after its turn.

    `change`: the fields of InteractiveTerms to change. RefusedError `needs_yes` for a higher level without
    approval, or from a gate that would refuse such a run. UsageError for a run that is not interactive, a
    mode that its program does not have, and a mode in which the program never requests approval.
    """
    for _ in range(TRIES):
        with core.ports.ledger.transaction() as tx:
            session = load_chain(tx, text)
        run = session.newest
        before = wanted_of(session)
        terms = replace(before, **change)
        _must_begin(core, around, session, terms, by)
        command = f"pancode sessions set {run.id} --safety {terms.safety}"
        must_be_agreed(run.id, before.safety, terms.safety, approved, command)
        with unit_of_work(core) as work:
            now = load_chain(work.tx, text)
            newest, row = now.newest, now.row
            # Only change the terms that the user agreed to.
            if newest.id == run.id and row and read_terms(row) == before:
                return newest if terms == before else work.signal(newest, TermsAsked(terms, by))
    raise RefusedError(
        f"the settings of {text} changed in the meantime",
        why="another user changed them at the same time",
        fix=f"pancode sessions show {text}",
        code="changed_meanwhile",
    )


def wanted_of(session: SessionChain) -> InteractiveTerms:
    """Return the terms of the session's next interactive run. UsageError if the run is not interactive."""
    run = session.newest
    if session.row is None:
        fix = f"pancode runs show {run.id}"
        raise UsageError(f"{run.id} is not a session: it does not take turns", fix=fix, code="no_session")
    return read_terms(session.row)


def _must_begin(
    core: Core, around: Surroundings, session: SessionChain, terms: InteractiveTerms, by: str
) -> None:
    """Raise UsageError if no interactive run can follow, and RefusedError if a gate would refuse one."""
    run = session.newest
    _must_have(run, terms.program_mode)
    if terms == terms_of(run):
        return
    request = as_interactive_run(request_of(run, by, session.row))
    own = in_request(run, terms, request.turns)
    request = unpin_request(core, replace(request, **own, continues=run.id, retry_of=None))
    judged = dry_run(core, around, request)
    refused = first_refused(tuple(one for one in judged.verdicts if one.gate in _OF_TERMS))
    if refused is not None:
        raise refusal_error(refused)


def _must_have(run: Run, mode: str) -> None:
    """Raise UsageError if the program has no modes of its own, or never requests approval in this mode."""
    if mode and not RUNTIMES[run.runtime].chosen:
        raise UsageError(
            f"{run.runtime} has no modes that can be set",
            why="the session's mode and safety level decide what the program may do",
            fix=f"pancode sessions set {run.id} --mode plan; modes: admin, plan, build, review",
            code="no_program_mode",
        )
    if is_bypass_mode(mode):
        raise UsageError(
            f"mode {mode} cannot be chosen",
            why="in this mode the program never requests approval, so nothing would be checked",
            fix=f"pancode sessions show {run.id}",
            code="forbidden_program_mode",
        )


FIELDS: Mapping[str, type[Safety] | type[Mode]] = {"safety": Safety, "mode": Mode}
"""The settings of a session that its agent may ask a user to change, with their values."""


class SessionMaker:
    """Changes one session's level or mode from its next message on; the target is named `RUN.FIELD`."""

    def __init__(self, core: Core, around: Surroundings) -> None:
        self._core, self._around = core, around

    def look(self, change: AskedChange) -> ChangeEffect:
        name, _, field = change.target.rpartition(".")
        if change.value not in list(map(str, FIELDS.get(field, ()))):
            raise UsageError(
                f"a session has no setting {field[:80]} with the value {str(change.value)[:80]!r}",
                why="; ".join(f"{name}: {', '.join(values)}" for name, values in FIELDS.items()),
                fix=f"pancode sessions show {name}",
                code="bad_value",
            )
        with self._core.ports.ledger.transaction() as tx:
            now = wanted_of(load_chain(tx, name))
        before, origin = str(now.safety if field == "safety" else now.mode), f"session {name}"
        back = AskedChange(change.kind, change.target, before)
        old, new = (SettingSaid(value, origin) for value in (before, str(change.value)))
        return ChangeEffect(change, old, new, back, change.value)

    def make(self, change: AskedChange, by: str) -> ChangeEffect:
        effect = self.look(change)
        name, _, field = change.target.rpartition(".")
        # The user approved the card, which shows the level, or undoes a change that they made.
        set_terms(
            self._core, self._around, name, {field: FIELDS[field](str(change.value))}, by, approved=True
        )
        return effect
