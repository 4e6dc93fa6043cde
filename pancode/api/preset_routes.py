"""Routes of presets: list, apply one, apply none."""

from __future__ import annotations

from typing import Any

from pancode.api.bodies import ActBody, PresetBody
from pancode.api.context import ApiContext
from pancode.api.routing import ApiCall, Verb
from pancode.domain.presets import Preset, find_preset
from pancode.errors import NotFoundError


def _presets(context: ApiContext, call: ApiCall) -> Any:
    around = context.coordinator.around({})
    loaded, applied = around.presets(), around.applied()
    name = call.query.get("name")
    chosen = [find_preset(loaded.presets, name)] if name is not None else loaded.presets.values()
    return {"presets": [_shape(p, loaded.origin(p.name), p.name == applied) for p in chosen]}


def _shape(preset: Preset, origin: str, applied: bool) -> dict[str, Any]:
    return {
        "name": preset.name,
        "description": preset.description,
        "model": preset.model,
        "worker_model": preset.worker_model,
        "scout_model": preset.scout_model,
        "reasoning": preset.reasoning,
        "safety": preset.safety,
        "origin": origin,
        "applied": applied,
    }


def _apply(context: ApiContext, call: ApiCall) -> Any:
    """Kept by the coordinator, beside the user's files; every dispatch from now on has it."""
    body: PresetBody = call.body
    preset = find_preset(context.coordinator.around({}).presets().presets, body.name)
    before = context.coordinator.applied_preset(preset.name)
    context.plane.records.record_preset(preset.name, before, body.by)
    around = context.coordinator.around({})
    rows = [row for row in around.origins(None) if row["key"] in preset.settings()]
    raised = around.defaults(None).raised
    return {"preset": preset.name, "before": before, "settings": rows, "warnings": [raised] if raised else []}


def _unset(context: ApiContext, call: ApiCall) -> Any:
    body: ActBody = call.body
    before = context.coordinator.applied_preset(None)
    if before is None:
        raise NotFoundError("no preset is applied", fix="pancode presets", code="no_preset")
    context.plane.records.record_preset(None, before, body.by)
    return {"preset": None, "before": before}


PRESET_VERBS: tuple[Verb, ...] = (
    Verb("GET", "/v1/presets", _presets, query=("name",)),
    Verb("POST", "/v1/presets/apply", _apply, PresetBody),
    Verb("POST", "/v1/presets/unset", _unset, ActBody),
)
