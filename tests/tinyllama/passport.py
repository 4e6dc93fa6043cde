"""Models that fail one check of the model test; the usual one passes them all, with enough context."""

from __future__ import annotations

import json
from pathlib import Path

from .model import SCENARIOS

PROSE = {"passport-tool": ['I will call ping({"x": "ok"}) at once.']}
LONG = {"passport-tool": [" ".join(f"word {number:03d} of a long answer" for number in range(120))]}


def write(path: Path, scenarios: dict[str, list[str]]) -> Path:
    """For `tiny_server(scenarios=...)`, in the place of the usual ones of their names."""
    path.write_text(json.dumps({**SCENARIOS, **scenarios}))
    return path
