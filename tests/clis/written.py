"""Writes what was measured into the file that the product shows and the documents are made from."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node_agent.wire.clock import SystemClock
from node_agent.wire.policy import Isolation
from pancode.agents import safety_evidence
from pancode.agents.safety_evidence import TryResult
from tests.clis.install import VERSIONS

PATH = Path(safety_evidence.__file__).with_name(safety_evidence.FILE)
Came = Mapping[str, TryResult]


def write_cell(runtime: str, rule: str, wall: Isolation, came: Came, path: Path = PATH) -> None:
    """In the place of what was there for it; tests side by side write one after the other."""
    cell = {"runtime": runtime, "rule": rule, "wall": wall.value}
    results = {
        one.value: sorted(act for act, how in came.items() if how is one) for one in reversed(TryResult)
    }
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        others = [one for one in json.loads(text)["cells"] if not _same(one, cell)] if text else []
        whole = _spelled(sorted([*others, {**cell, **results}], key=_order))
        file.truncate(0)
        file.write(whole)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return _order(one) == _order(other)


def _order(cell: Mapping[str, Any]) -> tuple[str, ...]:
    return cell["runtime"], cell["rule"], cell["wall"]


def _spelled(cells: list[dict[str, Any]]) -> str:
    """A line for each cell, so that a difference shows as one."""
    day = datetime.fromtimestamp(SystemClock().wall_ms() / 1000, UTC).date().isoformat()
    versions = dict(sorted(VERSIONS.items()))
    head = f'{{"measured": {json.dumps(day)},\n"versions": {json.dumps(versions)},\n"cells": [\n'
    return head + ",\n".join(map(json.dumps, cells)) + "\n]}\n"
