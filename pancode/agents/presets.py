"""Presets: their settings, and whether one allows more than the settings that it overrides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from node_agent.wire.job import Reasoning
from node_agent.wire.policy import SAFETY_RANK, Safety
from pancode.kernel.names import not_found


@dataclass(frozen=True, slots=True)
class Preset:
    """Some settings under one name. None: the setting stays unchanged."""

    name: str
    description: str = ""
    model: str | None = None
    worker_model: str | None = None
    scout_model: str | None = None
    reasoning: Reasoning | None = None
    safety: Safety | None = None
    places: Mapping[str, str] = field(default_factory=dict, compare=False)
    """`file:line` where the preset sets each of its models, by the setting's dotted key."""
    origin: str = field(default="", compare=False)
    """Where the preset was last changed: `built-in` or `file:line`."""

    def settings(self) -> dict[str, str]:
        """Return the settings by dotted key, as a file would have them."""
        values = {
            "models.orchestrator": self.model,
            "models.worker": self.worker_model,
            "models.scout": self.scout_model,
            "dispatch.reasoning": self.reasoning,
            "dispatch.safety": self.safety,
        }
        return {key: str(value) for key, value in values.items() if value is not None}


Presets = Mapping[str, Preset]


def find_preset(presets: Presets, name: str) -> Preset:
    """Return the preset of this name. Raises NotFoundError, which suggests the nearest name or lists all."""
    found = presets.get(name)
    if found is None:
        raise not_found("preset", name, presets, "pancode config preset")
    return found


def describe_raise(preset: Preset | None, without: Safety) -> str:
    """Return the warning that the preset raises the safety level; empty if it does not."""
    if preset is None or preset.safety is None or SAFETY_RANK[preset.safety] <= SAFETY_RANK[without]:
        return ""
    return f"preset {preset.name} raises safety from {without} to {preset.safety}"
