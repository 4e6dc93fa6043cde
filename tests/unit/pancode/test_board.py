"""The Grafana board asks only for figures that there are, and is a board that Grafana takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

BOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "pancode.json"
FIGURES = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


def test_every_figure_of_the_board_exists() -> None:
    board: dict[str, Any] = json.loads(BOARD.read_text())
    known = set(re.findall(r"`(pancode_[a-z_]+)`", FIGURES.read_text()))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = {name for expr in asked for name in re.findall(r"pancode_[a-z_]+", expr)}
    assert len(named) >= 15 and named <= known, named - known


def test_panels_have_their_own_place_and_number() -> None:
    board: dict[str, Any] = json.loads(BOARD.read_text())
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(places)) == len(places) and len(set(ids)) == len(ids)
    assert board["uid"] == "pancode" and board["templating"]["list"][0]["type"] == "datasource"
