"""Reads presets: the shipped ones, the user's overrides in panpresets.yaml, and the applied preset."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from node_agent.wire.policy import Safety
from pancode.agents.presets import Preset, Presets, find_preset
from pancode.config.agents.definitions import shipped_text
from pancode.config.layers import Folded, Layer, file_layer, fold_layers, layer_of, parse_model
from pancode.config.schema import ModelName, Part
from pancode.config.units import Level
from pancode.kernel.documents import parse_document, read_document
from pancode.kernel.errors import ConfigError, NotFoundError, describe_cause
from pancode.kernel.host.files import write_durable

FILE = "panpresets.yaml"
APPLIED = "applied-preset.json"
"""The file in the home with the applied preset's name; only the coordinator writes it."""
VARIABLE = "PANCODE_PRESET"
NO_PRESET = "none"
"""The value that, in place of a preset's name, means no preset for this call."""
_MODELS = {"models.worker": "workerModel", "models.scout": "scoutModel"}
"""The settings that choose agents' models, with their keys in a preset."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class PresetEntry(Part):
    """One preset as written; its keys are spelled as in PanCode's documents."""

    description: str = ""
    model: ModelName | None = None
    workerModel: ModelName | None = None
    scoutModel: ModelName | None = None
    reasoning: Level | None = None
    safety: Annotated[Safety | None, Field(strict=False)] = None


def load_presets(home: Path) -> Presets:
    """Return the shipped presets with the user's overrides; ConfigError with file:line."""
    user = read_document(home / FILE)
    shipped = parse_document(shipped_text(FILE), f"built-in {FILE}")
    folded = fold_layers([file_layer(document) for document in (shipped, user) if document is not None])
    return {name: _read_preset(name, data, folded) for name, data in folded.data.items()}


def _read_preset(name: str, data: object, folded: Folded) -> Preset:
    where = folded.origin(name)
    if not _NAME.fullmatch(name) or name == NO_PRESET:
        fix = f"use a-z, 0-9, - and _, but not {NO_PRESET}, which means no preset"
        raise ConfigError(f"{where}: {name!r} is not a valid preset name", fix=fix)
    if not isinstance(data, Mapping):
        fix = f"valid keys: {', '.join(PresetEntry.model_fields)}"
        raise ConfigError(f"{where}: preset {name} has no keys", fix=fix)
    entry = parse_model(PresetEntry, data, lambda path: folded.origin(f"{name}.{path}" if path else name))
    return Preset(
        name,
        entry.description,
        entry.model,
        entry.workerModel,
        entry.scoutModel,
        entry.reasoning,
        entry.safety,
        {key: folded.origin(f"{name}.{field}") for key, field in _MODELS.items() if field in data},
        where,
    )


def read_applied(home: Path) -> str | None:
    """Return the applied preset's name; ConfigError if the coordinator's file is unreadable."""
    path = home / APPLIED
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["preset"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(
            f"cannot read {path}", why=describe_cause(exc), fix="pancode config use none"
        ) from exc


def apply_preset(home: Path, name: str | None) -> str | None:
    """Store which preset applies to dispatches by default (None: no preset); return the previous one, or
    "unreadable" if its file is damaged. The file is separate from the user's files."""
    try:
        before = read_applied(home)
    except ConfigError:
        before = "unreadable"
    if name is None:
        (home / APPLIED).unlink(missing_ok=True)
    else:
        write_durable(home / APPLIED, json.dumps({"preset": name}).encode())
    return before


def in_force(home: Path, environ: Mapping[str, str], wanted: str | None) -> Preset | None:
    """Return the preset of this call, else the applied one, else the environment's; None: no preset. Unknown:
    NotFoundError if this call names it, ConfigError if it was applied or set in the environment."""
    stands = read_applied(home) if not wanted else None
    name = wanted or stands or environ.get(VARIABLE, "").strip()
    if name in ("", NO_PRESET):
        return None
    presets = load_presets(home)
    try:
        return find_preset(presets, name)
    except NotFoundError as missing:
        if wanted:
            raise
        where, fix = VARIABLE, f"unset {VARIABLE}"
        if stands:
            where, fix = "the preset was applied", "pancode config use none"
        raise ConfigError(f"{missing} ({where})", why=missing.why, fix=fix) from missing


def preset_layer(preset: Preset) -> Layer:
    """Return the settings of a preset, with the preset's name as their origin."""
    return layer_of(preset.settings(), f"preset {preset.name}")
