"""Applies configuration changes as the commands for them do, with one maker for each kind of change."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from pancode.agents.presets import find_preset
from pancode.budget.books import Ceilings, is_session
from pancode.config.changes import AskedChange, ChangeEffect, ChangeKind, ChangeMakers, SettingMaker
from pancode.config.fleet_settings import record_preset
from pancode.kernel.errors import UsageError
from pancode.kernel.ports import Transaction
from pancode.kernel.records import SessionRow
from pancode.runs.ceilings import set_ceilings, unset_ceiling
from pancode.runs.core import CEILING, Core
from pancode.runs.user_environment import ChosenSettings, OwnAgentsFile, SettingSaid, Surroundings

NONE, PRESET, OWN_AGENTS = "none", "preset", "panagents.yaml"
MOST_USD, LEAST_EXPONENT = 10**9, -9
"""The largest amount and the smallest exponent; a smaller one could write out gigabytes of zeros."""


class BudgetMaker:
    """Changes budget ceilings in dollars. `scope`: returns the id of a scope by its name; NotFoundError."""

    def __init__(self, core: Core, scope: Callable[[str], str]) -> None:
        self._core, self._scope = core, scope

    def look(self, change: AskedChange) -> ChangeEffect:
        scope, usd = self._scope(change.target), _parse_usd(change.value)
        with self._core.ports.ledger.transaction() as tx:
            counts = self._core.ceilings(tx, scope if ":" in scope else f"{scope}:").usd
            before = self._by_hand(tx, scope)
            usual = self._core.rules.ceiling_usd if scope == "day" else None
        new = usual if usd is None else usd
        origin = "pancode budget set" if usd is not None else "configured"
        old = SettingSaid(_text(counts), "pancode budget set" if before is not None else "configured")
        back = AskedChange(change.kind, change.target, before)
        after = None if usd is None else f"{usd:f}"
        return ChangeEffect(change, old, SettingSaid(_text(new), origin), back, after)

    def make(self, change: AskedChange, by: str) -> ChangeEffect:
        effect, scope, usd = self.look(change), self._scope(change.target), _parse_usd(change.value)
        if usd is not None:
            set_ceilings(self._core, scope, Ceilings(usd), by)
        else:
            unset_ceiling(self._core, scope, by, (CEILING,))
        return effect

    def _by_hand(self, tx: Transaction, scope: str) -> str | None:
        """Return the ceiling that a user set for this scope; None if no user set one."""
        session = tx.get(SessionRow, scope.partition(":")[2]) if is_session(scope) else None
        if session is not None:
            found: object = session.ceiling
        else:
            setting = self._core.ceiling_set(tx, scope)
            found = setting.value if setting is not None and setting.name == f"{CEILING}{scope}" else None
        return None if found in (None, "") else f"{Decimal(str(found)):f}"


def _parse_usd(text: str | None) -> Decimal | None:
    """Parse an amount in USD; UsageError if it is invalid."""
    if text is None:
        return None
    try:
        usd = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        usd = Decimal("nan")
    exponent = usd.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < LEAST_EXPONENT or not 0 <= usd <= MOST_USD:
        raise UsageError(
            f"{text[:80]!r} is not a valid amount in USD", fix="write an amount such as 25", code="bad_value"
        )
    return usd


def _text(usd: Decimal | None) -> str:
    return NONE if usd is None else f"${usd:f}"


class PresetMaker:
    """Changes the preset of dispatches that name none. `keep`: stores it and returns the previous one."""

    def __init__(self, core: Core, around: Surroundings, keep: Callable[[str | None], str | None]) -> None:
        self._core, self._around, self._keep = core, around, keep

    def look(self, change: AskedChange) -> ChangeEffect:
        if change.target != PRESET:
            raise UsageError(
                f"the target of a preset change must be {PRESET}", fix="omit it", code="bad_value"
            )
        before, name = self._around.applied(), _parse_name(change.value)
        sets = {} if name is None else find_preset(self._around.presets(), name).settings()
        notes = tuple(f"it sets {key} = {value}" for key, value in sets.items())
        old, new = (SettingSaid(one or NONE, "pancode config use") for one in (before, name))
        back = AskedChange(change.kind, change.target, before)
        return ChangeEffect(change, old, new, back, name, notes)

    def make(self, change: AskedChange, by: str) -> ChangeEffect:
        effect, name = self.look(change), _parse_name(change.value)
        record_preset(self._core, name, self._keep(name), by)
        return effect


class AgentMaker:
    """Changes fields of one agent in the user's own agents file."""

    def __init__(self, own: OwnAgentsFile) -> None:
        self._own = own

    def look(self, change: AskedChange) -> ChangeEffect:
        return self._make_effect(change, make=False)

    def make(self, change: AskedChange, by: str) -> ChangeEffect:
        return self._make_effect(change, make=True)

    def _make_effect(self, change: AskedChange, make: bool) -> ChangeEffect:
        if change.value is None:
            fix = f"pancode agents set {change.target} enabled false"
            raise UsageError("this change can disable an agent, but not remove it", fix=fix, code="bad_value")
        act = self._own.change if make else self._own.look
        done = act(change.target, change.value)
        back = AskedChange(ChangeKind.AGENTS_FILE, OWN_AGENTS, done.before)
        old, new = SettingSaid(done.was, done.file), SettingSaid(done.now, done.file)
        return ChangeEffect(change, old, new, back, done.after)


class AgentsFileMaker:
    """Restores an earlier text of the user's own agents file."""

    def __init__(self, own: OwnAgentsFile) -> None:
        self._own = own

    def look(self, change: AskedChange) -> ChangeEffect:
        back = AskedChange(change.kind, change.target, self._own.text())
        old, new = (SettingSaid(words, OWN_AGENTS) for words in ("as it was changed", "as it was before"))
        return ChangeEffect(change, old, new, back, change.value)

    def make(self, change: AskedChange, by: str) -> ChangeEffect:
        effect = self.look(change)
        self._own.put_back(change.value)
        return effect


def _parse_name(value: str | None) -> str | None:
    return None if value in (None, "", NONE) else value


def makers_of(
    core: Core,
    around: Surroundings,
    chosen: ChosenSettings,
    keep: Callable[[str | None], str | None],
    scope: Callable[[str], str],
    own: OwnAgentsFile,
) -> ChangeMakers:
    """Return a maker for each kind of change."""
    return {
        ChangeKind.SETTING: SettingMaker(chosen),
        ChangeKind.BUDGET: BudgetMaker(core, scope),
        ChangeKind.PRESET: PresetMaker(core, around, keep),
        ChangeKind.AGENT: AgentMaker(own),
        ChangeKind.AGENTS_FILE: AgentsFileMaker(own),
    }
