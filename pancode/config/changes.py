"""Configuration changes that a user makes by a command or approves: made, recorded and undone here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from node_agent.wire.policy import SAFETY_RANK, Safety
from pancode.config.answers import ChangeAnswer
from pancode.config.records import ConfigChange
from pancode.config.variables import FOR_NEW_NODES
from pancode.kernel.errors import NotFoundError, RefusedError
from pancode.kernel.ports import Transaction
from pancode.kernel.values import replace
from pancode.runs.admission.gates.permission import NEEDS_YES
from pancode.runs.core import Core, hold_lock
from pancode.runs.unit_of_work import Work, unit_of_work
from pancode.runs.user_environment import ChosenSettings, SettingSaid

MOST_KEPT = 20
"""How many of the newest changes can be undone."""


class ChangeKind(StrEnum):
    """What is changed; each kind is carried out by the code of its command."""

    SETTING = "setting"
    """A key of the settings; the target is that key."""
    BUDGET = "budget"
    """A ceiling in dollars; the target is its scope."""
    PRESET = "preset"
    SESSION = "session"
    """The safety level or the mode of one session; the target is `RUN.safety` or `RUN.mode`."""
    AGENT = "agent"
    """Fields of an agent in the user's own file, or a new agent; the target is the agent's name."""
    AGENTS_FILE = "agents file"
    """The user's whole agents file as it was; used only to undo a change, never requested."""


@dataclass(frozen=True, slots=True)
class AskedChange:
    """One requested change. `value` None: remove the value."""

    kind: ChangeKind
    target: str
    value: str | None


@dataclass(frozen=True, slots=True)
class ChangeEffect:
    """The effect of a change: the effective values before (`old`) and after (`new`), and the change that
    undoes it (`back`)."""

    change: AskedChange
    old: SettingSaid
    new: SettingSaid
    back: AskedChange
    after: str | None
    """The value after the change, to find out later whether it was changed again."""
    notes: tuple[str, ...] = ()

    def shape(self) -> ChangeAnswer:
        """Return the effect in the API's shape."""
        return {
            "kind": self.change.kind,
            "target": self.change.target,
            "value": self.change.value,
            "old": {"value": self.old.value, "origin": self.old.origin},
            "new": {"value": self.new.value, "origin": self.new.origin},
            "notes": list(self.notes),
        }


def must_be_agreed(what: str, before: Safety, after: Safety, approved: bool, command: str) -> None:
    """Raise RefusedError if the safety level rises without a user's approval. `command`: the command that
    makes the change, to which the error adds `--yes`."""
    if not approved and SAFETY_RANK[after] > SAFETY_RANK[before]:
        raise RefusedError(
            f"this change raises the safety level of {what} from {before} to {after}",
            why="agents could do more without approval",
            fix=f"{command} --yes",
            code=NEEDS_YES,
        )


class ChangeMaker(Protocol):
    """Makes the changes of one kind."""

    def look(self, change: AskedChange) -> ChangeEffect:
        """Return what the change would do, without making it. Raises the errors of `make`."""

    def make(self, change: AskedChange, by: str) -> ChangeEffect:
        """Make the change durable and return its effect. On an error, nothing is changed."""


ChangeMakers = Mapping[ChangeKind, ChangeMaker]


class SettingMaker:
    """Changes keys of settings.json."""

    def __init__(self, chosen: ChosenSettings) -> None:
        self._chosen = chosen

    def look(self, change: AskedChange) -> ChangeEffect:
        return self._make_effect(change, make=False)

    def make(self, change: AskedChange, by: str) -> ChangeEffect:
        return self._make_effect(change, make=True)

    def _make_effect(self, change: AskedChange, make: bool) -> ChangeEffect:
        act = self._chosen.change if make else self._chosen.look
        done = act(change.target, change.value)
        notes = []
        if done.wins:
            notes.append(f"{done.wins} takes precedence: {change.target} stays {done.now.value}")
        if done.at_start:
            notes.append("the change takes effect at the coordinator's next start: pancode fleet down")
        if change.target in FOR_NEW_NODES:
            notes.append(FOR_NEW_NODES[change.target])
        back = AskedChange(change.kind, change.target, done.before)
        return ChangeEffect(change, done.was, done.now, back, done.after, tuple(notes))


@hold_lock
def make_change(core: Core, makers: ChangeMakers, change: AskedChange, by: str) -> ChangeEffect:
    """Make the change so that `undo_last` can undo it. Raises the errors of its maker. The undo is recorded
    first, so that it exists even if the process is killed after the write."""
    effect = makers[change.kind].look(change)
    back = effect.back
    with unit_of_work(core) as work:
        before = _list_changes(work.tx)
        number = before[-1].number + 1 if before else 1
        kept = ConfigChange(number, back.kind.value, back.target, back.value, effect.after)
        _keep_changes(work, before, [*before, kept][-MOST_KEPT:])
        work.audit("config", "info", "setting changed", None, by=by, **_make_detail(effect))
    try:
        return makers[change.kind].make(change, by)
    except BaseException:
        with unit_of_work(core) as work:
            _keep_changes(work, _list_changes(work.tx), before)
            work.audit("config", "warning", "setting not changed", None, by=by, **_make_detail(effect))
        raise


@hold_lock
def undo_last(core: Core, makers: ChangeMakers, by: str) -> ChangeEffect:
    """Undo the last change. NotFoundError if there is none; RefusedError if the value was changed since."""
    with core.ports.ledger.transaction() as tx:
        history = _list_changes(tx)
    gone: list[str] = []
    while history and _is_as_before(makers, history[-1]):
        gone.append(history.pop().target)
    if not history:
        raise NotFoundError("nothing to undo", fix="pancode config show --origin", code="no_change")
    last = history[-1]
    back = _revert_change(last)
    maker = makers[back.kind]
    now, then = _read_current(maker, back), last.after
    effect = maker.make(back, by) if now == then else None
    with unit_of_work(core) as work:
        _keep_changes(work, _list_changes(work.tx), history[:-1])
        if effect is not None:
            work.audit("config", "info", "setting taken back", None, by=by, **_make_detail(effect))
    if effect is None:
        raise RefusedError(
            f"{back.target} changed in the meantime, so the last change was not undone",
            why=f"it is now {now or 'nothing'}, but the last change set it to {then or 'nothing'}",
            fix="pancode config show --origin; to undo the change before it: pancode config undo",
            code="changed",
        )
    return replace(effect, notes=(*effect.notes, *map(_PASSED.format, gone)))


_PASSED = "the last change of {} was already undone; this undoes the one before it"


def _is_as_before(makers: ChangeMakers, kept: ConfigChange) -> bool:
    """Whether there is nothing to undo: the change was never made, or is already undone."""
    back = _revert_change(kept)
    now = _read_current(makers[back.kind], back)
    return now != kept.after and now == back.value


def _read_current(maker: ChangeMaker, back: AskedChange) -> str | None:
    try:
        return maker.look(back).back.value
    except NotFoundError:  # the target was removed by hand
        return None


def _list_changes(tx: Transaction) -> list[ConfigChange]:
    return tx.find(ConfigChange)


def _keep_changes(work: Work, before: list[ConfigChange], after: list[ConfigChange]) -> None:
    """Replace the stored changes `before` by `after`."""
    for one in before:
        if one not in after:
            work.tx.delete(ConfigChange, one.number)
    for one in after:
        if one not in before:
            work.tx.put(one)


def _revert_change(kept: ConfigChange) -> AskedChange:
    """Return the change that undoes this one."""
    return AskedChange(ChangeKind(kept.kind), kept.target, kept.value)


def _make_detail(effect: ChangeEffect) -> dict[str, object]:
    change = effect.change
    return {
        "kind": change.kind.value,
        "target": change.target,
        "old": effect.old.value,
        "new": effect.new.value,
    }
