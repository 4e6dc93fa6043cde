"""The definition of a preset, its settings, and whether it lets runs do more than the settings below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from node_agent.wire.job import Reasoning
from node_agent.wire.policy import SAFETY_RANK, Safety
from pancode.kernel.names import not_found


@dataclass(frozen=True, slots=True)
class Preset:
    """Some settings under one name. None: the setting is left as it is."""

    name: str
    description: str = ""
    model: str | None = None
    worker_model: str | None = None
    scout_model: str | None = None
    reasoning: Reasoning | None = None
    safety: Safety | None = None
    places: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Where the preset names its models, by dotted key: `file:line`."""

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
    """Return the preset of this name; NotFoundError with the nearest one, or the list."""
    found = presets.get(name)
    if found is None:
        raise not_found("preset", name, presets, "pancode config preset")
    return found


def describe_raise(preset: Preset | None, without: Safety) -> str:
    """Return the warning that runs may do more with the preset than without it; empty: they may not."""
    if preset is None or preset.safety is None or SAFETY_RANK[preset.safety] <= SAFETY_RANK[without]:
        return ""
    return f"preset {preset.name} raises safety from {without} to {preset.safety}"
