"""Routes of presets and the configuration: settings with their origins, and changes by a user."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated, cast

from pydantic import Field

from node_agent.policy.commands.programs import Use
from node_agent.wire.policy import Safety
from pancode.agents.presets import find_preset
from pancode.budget.routes import budget_scope
from pancode.config import answers
from pancode.config.change_makers import makers_of
from pancode.config.changes import (
    AskedChange,
    ChangeKind,
    ChangeMakers,
    make_change,
    must_be_agreed,
    undo_last,
)
from pancode.config.fleet_settings import record_preset
from pancode.config.folder_safety import Deed, judged_here, rules_here
from pancode.config.proposals import propose_change
from pancode.interfaces.http.access.rights import SEES_ALL, SETS_UP, TELLS
from pancode.interfaces.http.bodies import ActBody, Line, PresetBody, SetSettingBody, SettingBody
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.routing import ApiCall, Verb
from pancode.kernel.declared import make_answer
from pancode.kernel.errors import NotFoundError, UsageError
from pancode.kernel.names import not_found
from pancode.runs.user_environment import SettingSaid

SAFETY = "dispatch.safety"
"""The setting for the default safety level."""


def change_makers(context: ApiContext) -> ChangeMakers:
    """Return a maker for each kind of change, for this coordinator's files and books."""
    place = context.coordinator
    scope = partial(budget_scope, context)
    around, own = place.around({}), place.own_agents
    makers = makers_of(context.core, around, place.chosen, place.applied_preset, scope, own)
    return {**makers, **{kind: make(context.core, around) for kind, make in place.change_makers.items()}}


class ProposeBody(ActBody):
    """A change for a user to approve. `target`: a key, a budget scope (`day`), `preset`, or an agent's name.

    `value`: as in a file, dollars, a preset's name, or fields (`{from: builder, runtime: codex}`); null
    removes the value. `why`: a line for the user.
    """

    kind: ChangeKind
    target: Annotated[Line, Field(min_length=1, max_length=200)]
    value: Annotated[str, Field(max_length=4_000)] | None = None
    why: Line = ""


@Verb(answers.PRESETS, command="config preset", query=("name",))
def _presets(context: ApiContext, call: ApiCall) -> answers.PresetsAnswer:
    """List the presets."""
    around = context.coordinator.around({})
    presets, applied = around.presets(), around.applied()
    name = call.query.get("name")
    chosen = [find_preset(presets, name)] if name is not None else presets.values()
    return {"presets": [make_answer(answers.PresetShape, p, applied=p.name == applied) for p in chosen]}


@Verb(answers.APPLY_PRESET, PresetBody, "config use", right=SETS_UP)
def _apply_preset(context: ApiContext, call: ApiCall[PresetBody]) -> answers.AppliedAnswer:
    """Apply a preset.

    The coordinator stores its name separately from the user's files; it applies to every later dispatch.
    """
    body = call.body
    around = context.coordinator.around({})
    preset = find_preset(around.presets(), body.name)
    if preset.safety is not None:
        now = Safety(around.origins(None)[SAFETY].value)
        must_be_agreed("all future work", now, preset.safety, body.yes, f"pancode config use {preset.name}")
    before = context.coordinator.applied_preset(preset.name)
    record_preset(context.core, preset.name, before, body.by)
    around = context.coordinator.around({})
    rows = [row for row in _make_rows(around.origins(None)) if row["key"] in preset.settings()]
    raised = around.defaults(None).raised
    return {"preset": preset.name, "before": before, "settings": rows, "warnings": [raised] if raised else []}


@Verb(answers.UNSET_PRESET, ActBody, "config use", right=SETS_UP)
def _unset_preset(context: ApiContext, call: ApiCall[ActBody]) -> answers.AppliedAnswer:
    """Stop applying a preset."""
    body = call.body
    before = context.coordinator.applied_preset(None)
    if before is None:
        raise NotFoundError("no preset is applied", fix="pancode config preset", code="no_preset")
    record_preset(context.core, None, before, body.by)
    return {"preset": None, "before": before}


@Verb(answers.SETTINGS, command="config show", query=("cwd",))
def _config(context: ApiContext, call: ApiCall) -> answers.SettingsAnswer:
    """List every setting with its origin."""
    around, project = context.coordinator.around({}), context.project_of(call.query.get("cwd"))
    return {"settings": _make_rows(around.origins(project)), "warnings": list(around.warnings(project))}


@Verb(answers.RULES, command="policy show", query=("cwd",), right=SEES_ALL)
def _rules(context: ApiContext, call: ApiCall) -> answers.RulesAnswer:
    """List the safety rules that apply in a folder."""
    return rules_here(Path(context.facts["home"]), Path(call.query.get("cwd", "/")), os.environ)


@Verb(
    answers.JUDGED,
    command="policy check",
    query=("cwd", "command", "file", "use", "level", "read_only"),
    right=SEES_ALL,
)
def _judge(context: ApiContext, call: ApiCall) -> answers.JudgedAnswer:
    """Decide whether a run in a folder may run a command or access a path.

    Nothing is run.
    """
    command, file, level = (call.query.get(name) for name in ("command", "file", "level"))
    use = call.query.get("use", Use.WRITE.value)
    if use not in tuple(Use):
        raise not_found("use", use, tuple(Use), "pancode policy check -h")
    if (command is None) == (file is None):
        raise UsageError("name either a command or a file", fix="pancode policy check -h", code="bad_value")
    deed = Deed(command, file, use, level, call.flag("read_only"))
    return judged_here(Path(context.facts["home"]), Path(call.query.get("cwd", "/")), os.environ, deed)


def _make_rows(settings: dict[str, SettingSaid]) -> list[answers.SettingShape]:
    return [{"key": key, "value": one.value, "origin": one.origin} for key, one in settings.items()]


@Verb(answers.SET_SETTING, SetSettingBody, "config set", pokes=True, right=SETS_UP)
def _set(context: ApiContext, call: ApiCall[SetSettingBody]) -> answers.ChangeAnswer:
    """Set one setting, overriding all files."""
    body = call.body
    change = AskedChange(ChangeKind.SETTING, body.key, body.value)
    return _apply_change(context, change, body, f"pancode config set {body.key} {body.value}")


@Verb(answers.UNSET_SETTING, SettingBody, "config unset", pokes=True, right=SETS_UP)
def _unset_setting(context: ApiContext, call: ApiCall[SettingBody]) -> answers.ChangeAnswer:
    """Remove a value that `config set` has set."""
    body = call.body
    change = AskedChange(ChangeKind.SETTING, body.key, None)
    return _apply_change(context, change, body, f"pancode config unset {body.key}")


def _apply_change(
    context: ApiContext, change: AskedChange, body: SettingBody, command: str
) -> answers.ChangeAnswer:
    """Make the change. RefusedError if it raises the default safety level without approval."""
    makers = change_makers(context)
    if change.target == SAFETY:
        effect = makers[change.kind].look(change)
        before, after = Safety(effect.old.value), Safety(effect.new.value)
        must_be_agreed("all future work", before, after, body.yes, command)
    return make_change(context.core, makers, change, body.by).shape()


@Verb(answers.PROPOSE, ProposeBody, status=201, for_runs=True, right=TELLS)
def _propose_change(context: ApiContext, call: ApiCall[ProposeBody]) -> answers.ProposedAnswer:
    """Propose a change to a user.

    Nothing is changed until the user approves.
    """
    body = call.body
    change = AskedChange(body.kind, body.target, body.value)
    proposal = propose_change(context.core, change_makers(context), change, body.why, body.by, call.inside)
    return cast("answers.ProposedAnswer", proposal)


@Verb(answers.UNDO, ActBody, "config undo", pokes=True, right=SETS_UP)
def _undo(context: ApiContext, call: ApiCall[ActBody]) -> answers.ChangeAnswer:
    """Undo the last change."""
    return undo_last(context.core, change_makers(context), call.body.by).shape()
