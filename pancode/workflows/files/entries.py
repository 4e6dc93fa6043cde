"""The keys of a workflow file, named like the options of the command line."""

from __future__ import annotations

from collections.abc import Mapping
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

    def dispatch(self) -> dict[str, Any]:
        """Return the API's request body with only the fields that the file sets."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        fields = {one.name: values[one.word] for one in OPTIONS.values() if one.word in values}
        return {**fields, "verify": []} if self.no_verify else fields


class TaskEntry(DispatchEntry):
    """One task of a batch."""

    task: str = ""
    argv: Several | None = None
    files: Paths = ()

    def dispatch(self) -> dict[str, Any]:
        fields = super().dispatch()
        if self.argv is not None:
            fields["argv"] = list(self.argv)
        return {"task": self.task, **fields}


class VerdictEntry(Part):
    """The file to which a step writes its verdict, and the allowed values of the verdict's fields."""

    file: Annotated[str, AfterValidator(_check_path)] = "verdict.json"
    fields: Annotated[dict[NonEmpty, Several], Field(alias="schema", min_length=1)]


class StepEntry(TaskEntry):
    """One step of a chain or graph."""

    name: str | None = None
    needs: Several | None = None
    until: str | None = None
    max: Annotated[int, Field(ge=1, le=MOST_ROUNDS)] | None = None
    verdict: VerdictEntry | None = None
    back_to: str | None = None


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
