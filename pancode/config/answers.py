"""API shapes of settings and presets."""

from typing import NotRequired

from typing_extensions import TypedDict

from pancode.kernel.route import Route


class SaidShape(TypedDict):
    value: str
    origin: str


class ChangeAnswer(TypedDict):
    kind: str
    target: str
    value: str | None
    old: SaidShape
    new: SaidShape
    notes: list[str]


class SettingShape(SaidShape):
    """A setting by its dotted path, with its value as text and its origin."""

    key: str


class PresetShape(TypedDict):
    name: str
    description: str
    model: str | None
    worker_model: str | None
    scout_model: str | None
    reasoning: str | None
    safety: str | None
    origin: str
    applied: bool


class PresetsAnswer(TypedDict):
    presets: list[PresetShape]


class AppliedAnswer(TypedDict):
    preset: str | None
    before: str | None
    settings: NotRequired[list[SettingShape]]
    warnings: NotRequired[list[str]]


class SettingsAnswer(TypedDict):
    settings: list[SettingShape]


class ProposedAnswer(ChangeAnswer):
    id: str


PRESETS = Route[PresetsAnswer]("GET /v1/presets")
APPLY_PRESET = Route[AppliedAnswer]("POST /v1/presets/apply")
UNSET_PRESET = Route[AppliedAnswer]("POST /v1/presets/unset")
SETTINGS = Route[SettingsAnswer]("GET /v1/config")
SET_SETTING = Route[ChangeAnswer]("POST /v1/config/set")
UNSET_SETTING = Route[ChangeAnswer]("POST /v1/config/unset")
PROPOSE = Route[ProposedAnswer]("POST /v1/config/propose")
UNDO = Route[ChangeAnswer]("POST /v1/config/undo")
