"""Values with a unit, as users write them: durations, sizes, amounts, command lines."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from node_agent.wire.endpoint import machine_of
from node_agent.wire.job import Folders, Reasoning, ReportFiles, checked_folder
from pancode.kernel.declared import MOST_BYTES, MOST_MS
from pancode.kernel.errors import UsageError
from pancode.kernel.names import find_nearest, label_word
from pancode.kernel.shell_words import split_words
from pancode.runs.options import is_gpu_count


class SecretShownError(ValueError):
    """A secret was given where only its name is allowed; the error's text does not contain the secret."""


_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_BYTES |= {letter: 10**power for power, both in ((3, "kK"), (6, "mM"), (9, "gG")) for letter in both}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(B|[KMG]B|[KMG]iB|[kKmMgG])")


def duration_ms(value: object) -> int:
    """Convert `90s`, `1h30m`, `500ms` to milliseconds. ValueError otherwise, also for a number without a
    unit."""
    if isinstance(value, str):
        text = value.replace(" ", "")
        parts = _DURATION.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            ms = round(sum(Decimal(number) * _MS[unit] for number, unit in parts))
            if ms > MOST_MS:
                raise ValueError(f"{value[:40]!r} is too long: the maximum is 365d")
            return ms
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"a duration needs a unit: {value}s, {value}m or {value}h")
    raise ValueError(f"{value!r} is not a duration; write one like 90s, 15m or 1h30m")


def size_bytes(value: object) -> int:
    """Convert `64MiB`, `500KB` or a number to bytes; ValueError otherwise."""
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    plain = isinstance(value, int) and not isinstance(value, bool)
    if match is None and not plain:
        raise ValueError(f"{value!r} is not a size; write one like 64MiB")
    size = round(Decimal(match[1]) * _BYTES[match[2]]) if match is not None else int(str(value))
    if size > MOST_BYTES:
        raise ValueError(f"{str(value)[:40]} is too large: the maximum is 1048576GiB")
    return size


def gpu_count(value: object) -> str:
    """Return a whole number, or `all`, as text; ValueError otherwise."""
    if isinstance(value, bool) or not is_gpu_count(value):
        raise ValueError(f"{value!r} is not a number of GPUs; write a whole number, or all")
    return str(value)


MOST_USD = 10**9


def amount_usd(value: object) -> Decimal:
    """Convert `0.75`, `$10` or a number to USD, at least 0, with up to 9 decimals; ValueError otherwise."""
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
            raise ValueError
        amount = Decimal(str(value).strip().removeprefix("$"))
    except (ValueError, InvalidOperation):
        raise ValueError(f"{value!r} is not an amount in USD; write one like 0.75") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{value!r} is not an amount in USD: it must be 0 or more")
    if amount > MOST_USD:
        raise ValueError(f"{value!r} is not an amount in USD: it must be {MOST_USD} or less")
    return amount if int(amount.as_tuple().exponent) >= -9 else amount.quantize(Decimal("1e-9"))


def reasoning_word(value: object) -> object:
    """Return a reasoning level. ValueError names the nearest one. YAML reads an unquoted `off` as false."""
    word = "off" if value is False else value
    levels = [level.value for level in Reasoning]
    if word in levels:
        return Reasoning(word)
    near = find_nearest(str(word), levels)
    guess = f"did you mean {near}? " if near else ""
    raise ValueError(f"reasoning level {word!r} not found; {guess}levels: {', '.join(levels)}")


def _check_machine(text: str) -> str:
    machine_of(text)
    return text.strip()


def _file_path(text: str) -> str:
    if not text.startswith(("/", "~/")):
        raise ValueError(f"{text!r} is not a file path: it must start with / or ~/")
    return text


def as_tuple(value: object) -> object:
    """Convert a list to a tuple; return anything else unchanged."""
    return tuple(value) if isinstance(value, list) else value


def _split_command(value: object) -> object:
    """Split a text as a shell does; return a list, which is already an argument list, unchanged."""
    if not isinstance(value, str):
        return as_tuple(value)
    try:
        return split_words(value, "the command")
    except UsageError as exc:
        raise ValueError(f"{exc}. Fix: {exc.fix}") from exc


FilePath = Annotated[str, AfterValidator(_file_path)]
"""The path of a file on the coordinator's machine; `~` is the home of the coordinator's user."""
Duration = Annotated[int, BeforeValidator(duration_ms, json_schema_input_type=str), Field(gt=0)]
"""A duration in milliseconds."""
Size = Annotated[int, BeforeValidator(size_bytes, json_schema_input_type=int | str), Field(gt=0)]
"""A size in bytes."""
GpuCount = Annotated[str, BeforeValidator(gpu_count)]
"""A number of GPUs, or `all` GPUs of a node."""
Money = Annotated[Decimal, BeforeValidator(amount_usd)]
"""An amount in USD."""
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
Level = Annotated[Reasoning, BeforeValidator(reasoning_word)]
Names = Annotated[tuple[VariableName, ...], BeforeValidator(as_tuple)]
Texts = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
LabelWord = Annotated[str, AfterValidator(label_word)]
Labels = dict[LabelWord, LabelWord]
"""Labels of nodes."""
Command = Annotated[
    tuple[Annotated[str, Field(min_length=0)], ...], BeforeValidator(_split_command), Field(min_length=1)
]
Commands = Annotated[tuple[Command, ...], BeforeValidator(as_tuple)]
Machines = Annotated[tuple[Annotated[str, AfterValidator(_check_machine)], ...], BeforeValidator(as_tuple)]
"""Addresses of model servers."""
ReportNames = Annotated[ReportFiles, BeforeValidator(as_tuple)]
_Pattern = Annotated[str, AfterValidator(checked_folder)]
CopyPatterns = Annotated[tuple[_Pattern, ...], Field(max_length=16), BeforeValidator(as_tuple)]
"""Patterns of ignored files, below the repository's top."""
FolderNames = Annotated[Folders, BeforeValidator(as_tuple)]
