"""Makes the tasks of a matrix: every combination of what it lists, bounded."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from pancode.config.workflows.entries import MatrixEntry

MOST_STEPS = 1_000
_ONE = {"agents": "agent", "nodes": "node", "models": "model", "runtimes": "runtime"}


def size_of_matrix(matrix: MatrixEntry) -> int:
    return len(matrix.tasks) * prod(len(getattr(matrix, name)) or 1 for name in _ONE)


def combinations(matrix: MatrixEntry) -> list[dict[str, Any]]:
    """Fields of a dispatch for each cell, the last list changing fastest."""
    lists = {"task": matrix.tasks} | {
        field: getattr(matrix, name) for name, field in _ONE.items() if getattr(matrix, name)
    }
    return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]
