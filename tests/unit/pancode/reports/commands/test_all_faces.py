"""Each interface shows the same needs with the same numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from pancode.fleet.answers import FLEET
from pancode.interfaces.cli.output import Face
from pancode.interfaces.mcp.protocol import CallProgress
from pancode.interfaces.mcp.tools import call_tool
from pancode.interfaces.tui.page import PageMoment, text_of
from pancode.interfaces.tui.pages.now import draw_needs, draw_now
from pancode.interfaces.tui.pages.summary import draw_summary
from pancode.people.commands.inbox import inbox
from pancode.reports.answers import NOW
from pancode.reports.commands.status import Seen, format_screen
from tests.architecture.sources import ROOT
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.landing.commands.test_landing import DirectClient
from tests.unit.pancode.reports.routes.test_brief import changed, play
from tests.unit.pancode.runs.world import failed

KINDS = (
    (FailureKind.NEEDS_USER, Outcome.BLOCKED),
    (FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED),
    (FailureKind.AGENT_FAILED, Outcome.ERROR),
    (FailureKind.WALL_LIMIT, Outcome.TIMEOUT),
    (FailureKind.NODE_REBOOTED, Outcome.INFRA),
)


def test_all_interfaces_show_the_same_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At one moment Now said 13, its side bar 19, `status` 19, `top` 9 to 11 and `inbox` 16."""
    world = World(tmp_path)
    changed(world)
    for kind, outcome in KINDS:
        play(world, **failed(kind, outcome))
    client = DirectClient(world.coordinator)
    monkeypatch.setattr(Face, "client", lambda self, **_: client)
    now = client.get(NOW)
    whole = client.get("/v1/now")
    about = {"now": whole, "fleet": client.get("/v1/fleet"), "budget": client.get("/v1/budget")}
    ids = [need.id for need in now.needs]
    counts = [group.count for group in now.groups]
    assert counts == [1, 4, 1, 0, 1], "a question, four failures, a change, and the node whose clock is off"

    moment = PageMoment.of(world.context.clock.wall_ms())
    top, listed = draw_now(about, "", moment), draw_needs(about, "", moment)
    assert [row.key for row in listed.rows if row.kind != "heading"] == ids
    assert [row.key for row in top.rows if row.kind != "heading"][: len(ids)] == ids
    assert [int(row.cells[-1]) for row in listed.rows if row.kind == "heading"] == list(filter(None, counts))

    inbox(face=Face(True))
    told = json.loads(capsys.readouterr().out)
    assert [need["id"] for group in told["groups"] for need in group["needs"]] == ids
    result = call_tool(lambda _: client, {}, "inbox", {}, "me", CallProgress(lambda message: None))
    answer = result["structuredContent"]
    assert (answer["count"], len(answer["needs"])) == (len(ids), len(ids))
    assert [need["id"] for need in client.get("/v1/brief")["waits"]] == ids
    numbers: dict[str, Callable[[], str]] = {
        "status": lambda: format_screen(Seen(client.get(FLEET), now), 80),
        "the head of top": lambda: text_of(draw_summary(about)),
    }
    for name, show in numbers.items():
        assert re.search(rf"(?:NEEDS YOU|inbox) {len(ids)}\b", show()), name


def test_the_console_counts_nothing_by_itself() -> None:
    """Its side bar, its tab and its first page have the number of the coordinator."""
    scripts = {
        name: (ROOT / f"pancode/interfaces/web/static/{name}").read_text()
        for name in ("app.js", "pages/now.js")
    }
    for name, text in scripts.items():
        assert re.search(r"(?:now|data)\??\.count\b", text), name
        assert "needs.length +" not in text and "review.changes" not in text, name
