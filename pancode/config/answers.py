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
    """`warnings`: about misspelled, ineffective or overridden settings."""

    settings: list[SettingShape]
    warnings: list[str]


class RuleShape(TypedDict):
    """A safety rule. `leaves`: what is still allowed."""

    kind: str
    leaves: str
    pattern: str
    origin: str
    reason: str


class RulesAnswer(TypedDict):
    """The safety rules that apply in a folder, the files with rules, and warnings about these files."""

    rules: list[RuleShape]
    files: list[str]
    warnings: list[str]
    note: str


class ReasonShape(TypedDict):
    words: str
    ends_the_run: bool


class JudgedAnswer(TypedDict):
    """Whether a run may do something; `because`: the rules, or the level, that forbid it."""

    allowed: bool
    asks: bool
    action: str
    safety: str
    because: list[ReasonShape]


class ProposedAnswer(ChangeAnswer):
    id: str


PRESETS = Route[PresetsAnswer]("GET /v1/presets")
APPLY_PRESET = Route[AppliedAnswer]("POST /v1/presets/apply")
UNSET_PRESET = Route[AppliedAnswer]("POST /v1/presets/unset")
SETTINGS = Route[SettingsAnswer]("GET /v1/config")
RULES = Route[RulesAnswer]("GET /v1/rules")
JUDGED = Route[JudgedAnswer]("GET /v1/rules/judged")
SET_SETTING = Route[ChangeAnswer]("POST /v1/config/set")
UNSET_SETTING = Route[ChangeAnswer]("POST /v1/config/unset")
PROPOSE = Route[ProposedAnswer]("POST /v1/config/propose")
UNDO = Route[ChangeAnswer]("POST /v1/config/undo")
