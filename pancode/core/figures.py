"""Writes figures in Prometheus' text format, which other programs read, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_IN_VALUE = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_IN_WORDS = str.maketrans({"\\": "\\\\", "\n": "\\n"})


@dataclass(frozen=True, slots=True)
class Figure:
    """The meaning of one figure. A counter grows until a coordinator starts anew or a ledger is restored."""

    kind: Literal["gauge", "counter"]
    what: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a figure now; an unknown one has no sample."""

    name: str
    value: float
    labels: Mapping[str, str]


def exposition(figures: Mapping[str, Figure], samples: Iterable[Sample]) -> str:
    """Prometheus' text format, version 0.0.4: figures in the order of the catalogue, those with a sample."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    lines = []
    for name, figure in figures.items():
        if name in by_name:
            lines += [f"# HELP {name} {figure.what.translate(_IN_WORDS)}", f"# TYPE {name} {figure.kind}"]
            lines += [_line(sample) for sample in by_name[name]]
    return "".join(f"{line}\n" for line in lines)


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{value.translate(_IN_VALUE)}"' for name, value in sample.labels.items())
    return f"{sample.name}{f'{{{labels}}}' if labels else ''} {_number(sample.value)}"


def _number(value: float) -> str:
    """Whole numbers without a point, others so that they are read back as they were."""
    return str(int(value)) if value == int(value) else repr(float(value))
