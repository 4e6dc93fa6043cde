"""The keys of a workflow file, named like the options of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from node_agent.wire.policy import Mode, NetworkAccess, Safety
from pancode.agents.runtimes import known_runtime
from pancode.config.schema import ModelName, Part
from pancode.config.units import Duration, GpuCount, Level, Money, Size, duration_ms
from pancode.kernel.errors import UsageError
from pancode.kernel.names import label_word
from pancode.kernel.shell_words import split_words
from pancode.runs.declared_models import with_values
from pancode.runs.options import OPTIONS
from pancode.runs.request import DispatchRequest
from pancode.workflows.model import StepPlan
from pancode.workflows.step_graph import UNTIL

MOST_ROUNDS = 20
MOST_STAGGER_MS = 60_000
Amount = Annotated[int, Field(ge=1)]
NonEmpty = Annotated[str, Field(min_length=1)]
RuntimeName = Annotated[str, AfterValidator(known_runtime)]
LabelWord = Annotated[str, AfterValidator(label_word)]


def _make_list(value: object) -> object:
    """Return the value as a list; a single text becomes a list with one element."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _parse_labels(value: object) -> object:
    """Return the labels from text such as `gpu=24g`, a list of such texts, or a mapping."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list):
        return given
    pairs = [str(one).partition("=") for one in given]
    if wrong := next((key for key, equals, rest in pairs if not equals or not rest), None):
        raise ValueError(f"{wrong!r} is not a label; write a label as in gpu=24g")
    return {key: rest for key, _, rest in pairs}


def _check_gate(text: str) -> str:
    """Return the text unchanged; ValueError if it cannot be split into arguments."""
    try:
        split_words(text, "verify")
    except UsageError as exc:
        raise ValueError(f"{exc}. Fix: {exc.fix}") from exc
    return text


def _parse_stagger(value: object) -> int:
    ms = 0 if value == 0 and value is not False else duration_ms(value)
    if ms > MOST_STAGGER_MS:
        raise ValueError("the delay between two tasks must be at most 60s")
    return ms


def _check_path(path: str) -> str:
    """Return the path; ValueError if it leads out of the workspace."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts or "" in parts or not path.isprintable():
        raise ValueError(f"{path!r} is not a path inside the workspace; write a path such as reports/plan.md")
    return path


_UNTIL = re.compile(r"""\s*([A-Za-z_][A-Za-z0-9_]*)\s*==\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")


def _parse_until(value: object) -> object:
    """Return `field` and `equals` of a text such as `verdict == "approved"`. ValueError for other text."""
    if not isinstance(value, str):
        return value
    if (found := _UNTIL.fullmatch(value)) is None:
        raise ValueError(f"it must be a comparison, not code. Fix: write it like this: {UNTIL}")
    return {"field": found[1], "equals": found[2] or found[3] or found[4] or ""}


def _check_scalar(value: object) -> object:
    if not isinstance(value, str | int | float):
        raise ValueError("it must be a text, a number, or true or false")
    return value


Scalar = Annotated[str | bool | int | float, BeforeValidator(_check_scalar)]
Several = Annotated[tuple[NonEmpty, ...], BeforeValidator(_make_list)]
Paths = Annotated[tuple[Annotated[NonEmpty, AfterValidator(_check_path)], ...], BeforeValidator(_make_list)]
Labels = Annotated[dict[LabelWord, LabelWord], BeforeValidator(_parse_labels)]
Gates = Annotated[tuple[Annotated[str, AfterValidator(_check_gate)], ...], BeforeValidator(_make_list)]


class KebabPart(Part):
    """A part of the file whose keys are written like flags (`max-turns`); `max_turns` is accepted too."""

    model_config = ConfigDict(
        alias_generator=lambda name: name.replace("_", "-"), populate_by_name=True, **Part.model_config
    )


_TYPES: Mapping[str, Any] = {
    **{"Name": NonEmpty, "ModelName": ModelName, "RuntimeName": RuntimeName, "Reasoning": Level},
    "Mode": Annotated[Mode, Field(strict=False)],
    "Safety": Annotated[Safety, Field(strict=False)],
    "NetworkAccess": Annotated[NetworkAccess, Field(strict=False)],
    **{"Count": int, "Duration": Duration, "Size": Size, "Money": Money, "bool": bool},
    **{"Gpus": GpuCount, "Labels": Labels, "Commands": Gates, "Paths": Paths},
}
"""The type of an option in a file, by the name of its type on the command line."""


@with_values(OPTIONS, _TYPES, in_file=True)
class DispatchEntry(KebabPart):
    """The options that a file shares with `pancode dispatch`."""

    no_verify: bool = False

    def to_work(self) -> dict[str, Any]:
        """Return the API's request body with only the fields that the file sets."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        fields = {one.name: values[one.word] for one in OPTIONS.values() if one.word in values}
        return {**fields, "verify": []} if self.no_verify else fields


class TaskEntry(DispatchEntry):
    """One task of a batch."""

    task: str = ""
    argv: Several | None = None
    files: Paths = ()

    def to_work(self) -> dict[str, Any]:
        fields = super().to_work()
        if self.argv is not None:
            fields["argv"] = list(self.argv)
        return {"task": self.task, **fields}


class UntilEntry(Part):
    """The value of a verdict's field that ends a step's rounds; any other value starts another round."""

    field: NonEmpty
    equals: Scalar


class VerdictEntry(Part):
    """The JSON file that the step's run must write as verdict. `schema`: each field's allowed values."""

    file: Annotated[str, AfterValidator(_check_path)] = "verdict.json"
    fields: dict[NonEmpty, Annotated[tuple[Scalar, ...], BeforeValidator(_make_list)]] = Field(
        alias="schema", min_length=1, max_length=50
    )


class StepEntry(TaskEntry):
    """A step. `files`: files that it keeps for later steps. A key may also be written with `_`."""

    name: str | None = None
    needs: Several | None = Field(default=None, description="Steps that must be done before it.")
    until: Annotated[UntilEntry | None, BeforeValidator(_parse_until)] = Field(
        default=None, description='The verdict that ends its rounds, also as text: verdict == "approved".'
    )
    max: Annotated[int, Field(ge=1, le=MOST_ROUNDS)] | None = Field(default=None, description="Most rounds.")
    verdict: VerdictEntry | None = None
    back_to: str | None = Field(default=None, description="The first step of a round.")

    def to_plan(self, name: str, request: DispatchRequest, needs: Iterable[str]) -> StepPlan:
        """Return the plan of this step."""
        told = self.model_dump(mode="json", include={"until", "verdict"}, by_alias=True)
        return StepPlan(
            name=name,
            request=request,
            needs=tuple(dict.fromkeys(needs)),
            files=self.files,
            until=told["until"] or {},
            most=self.max or 1,
            verdict=told["verdict"] or {},
            back_to=self.back_to,
        )


class MatrixEntry(KebabPart):
    """Lists of values; each combination of them becomes a task."""

    tasks: Several
    agents: Several = ()
    nodes: Several = ()
    models: Annotated[tuple[ModelName, ...], BeforeValidator(_make_list)] = ()
    runtimes: Annotated[tuple[RuntimeName, ...], BeforeValidator(_make_list)] = ()


class FileEntry(KebabPart):
    """A whole workflow file."""

    name: str | None = None
    description: str = ""
    defaults: DispatchEntry = DispatchEntry()
    concurrency: Amount | None = None
    stagger: Annotated[int, BeforeValidator(_parse_stagger)] | None = None
    fail_fast: bool | None = None
    partial: bool | None = None
    budget: Money | None = None
    preset: NonEmpty | None = None
    tasks: dict[str, TaskEntry] = {}
    matrix: MatrixEntry | None = None
    steps: dict[str, StepEntry] = {}
