"""Presenters on answers of the real API: rows, lines, and no character that steers a terminal."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import Any

import pytest

from pancode.interfaces.tui.page import Page, PageMoment, PagePlace, laid_out, text_of
from pancode.interfaces.tui.pages import nodes, now, runs, texts
from pancode.interfaces.tui.pages import workflows as work
from pancode.interfaces.tui.pages.now import draw_nodes_in_short, draw_now
from pancode.interfaces.tui.pages.summary import draw_summary, list_troubles
from pancode.interfaces.tui.views import SUMMARY, VIEWS, ApiAsk, find_resource
from pancode.kernel.declared import to_json
from pancode.reports.now import arrange_now
from pancode.runs.answers import NeedGroup
from tests.unit.pancode.interfaces.tui.scene import Scene
from tests.unit.pancode.reports.test_now import need, snapshot


def answers(scene: Scene, view: str, about: str = "") -> dict[str, Any]:
    asks = {**SUMMARY, **VIEWS[view].asks(about)}
    return {name: answer(scene, ask) for name, ask in asks.items()}


def answer(scene: Scene, ask: ApiAsk) -> Any:
    client = scene.client
    return client.raw(ask.path, **ask.query) if ask.raw else client.get(ask.path, **ask.query)


def page(scene: Scene, view: str, about: str = "") -> Page:
    moment = PageMoment.of(scene.desk.clock.wall_ms())
    return VIEWS[view].page(answers(scene, view, about), about, moment)


def abouts(scene: Scene) -> list[tuple[str, str]]:
    item = scene.client.get("/v1/inbox")["items"][0]["id"]
    workflow = scene.client.get("/v1/workflows")["workflows"][0]["workflow"]
    of_run = [(view, run) for view in ("run", "why", "diff", "receipt") for run in (scene.done, scene.waits)]
    rest = [("node", "gpubox"), ("workflow", workflow), ("item", item), ("item", "gone")]
    return [*((view, "") for view in VIEWS if VIEWS[view].words), *of_run, *rest]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_every_page_fits_and_steers_nothing(still: Scene, columns: int) -> None:
    for view, about in abouts(still):
        made = page(still, view, about)
        lines = [*made.above, *made.lines]
        if made.head:
            head, widths, rows = laid_out(made, columns)
            lines += [tuple(one) for one in (head, *rows)]
            assert sum(widths) <= columns, (view, columns)
            fits = [len(text) <= most for row in rows for (text, _), most in zip(row, widths, strict=True)]
            assert all(fits), (view, columns)
        steers = [c for one in lines for c in text_of(one) if unicodedata.category(c) in ("Cc", "Cf")]
        assert not steers, (view, steers)


def cells(made: Page, key: str) -> dict[str, str]:
    (row,) = (row for row in made.rows if row.key == key)
    return dict(zip(made.head, row.cells, strict=True))


def test_runs_say_where_they_are(still: Scene) -> None:
    made = page(still, "runs")
    states = {row.key: cells(made, row.key)["STATE"] for row in made.rows}
    wanted = {
        still.asks: "asks you",
        still.done: "unverified",
        still.works: "running",
        still.waits: "waiting",
    }
    assert {run: states[run] for run in wanted} == wanted
    assert cells(made, still.done)["COST"] == "$0.10" and cells(made, still.works)["COST"] == "-"


def test_the_first_page_has_what_needs_the_user_then_what_goes_on(still: Scene) -> None:
    made = page(still, "status")
    told = [row.cells[1] if row.kind == "heading" else row.shape.get("run") for row in made.rows]
    assert told[:2] == ["Asks you", still.asks] and told[2] == "Nodes"
    assert told[5:8] == ["Running", still.works, "Waiting"]
    assert still.waits in told and still.done not in told
    above = " | ".join(map(text_of, made.above))
    for words in (
        "◌ gpubox",
        "▨▨ ? of 2",
        "● n1",
        "■■□□□□□□ 2 of 8",
        "today ─",
        "$0.20 + $0.10 reserved of $10.00",
    ):
        assert words in above, above


def test_a_tall_terminal_has_what_ended_and_the_ceilings_too(still: Scene) -> None:
    moment = replace(PageMoment.of(still.desk.clock.wall_ms()), height=44, width=160)
    made = draw_now(answers(still, "status"), "", moment)
    assert {"Ended since you left", "Money"} <= {row.key for row in made.rows}
    assert still.done in {row.key for row in made.rows}


def test_away_from_the_coordinator_what_was_at_work_is_unknown(still: Scene) -> None:
    moment = replace(PageMoment.of(still.desk.clock.wall_ms()), away=True)
    made = draw_now(answers(still, "status"), "", moment)
    (works,) = (row.cells for row in made.rows if row.key == still.works)
    assert (works[0], *works[-2:]) == ("unknown", "?", "?")
    assert "● n1" not in " ".join(map(text_of, made.above))


def test_many_nodes_are_those_in_trouble_and_a_number(still: Scene) -> None:
    told = answers(still, "status")
    gpubox, n1 = sorted(told["fleet"]["nodes"], key=lambda one: str(one["name"]))
    idle = [{**n1, "name": f"n{at}", "slots": {"used": 0, "total": 4}} for at in range(2, 40)]
    there = {**told, "fleet": {**told["fleet"], "nodes": [n1, *idle, gpubox]}}
    lines = [text_of(one) for one in draw_nodes_in_short(there, PageMoment.of(0))]
    assert len(lines) == 2 and lines[0].startswith("◌ gpubox") and "and 37 idle" in lines[1]


def test_a_silent_machine_never_looks_idle(still: Scene) -> None:
    made = page(still, "nodes")
    assert cells(made, "n1")["HEARD"] == "now"
    silent = cells(made, "gpubox")
    assert silent["STATE"] == "suspect" and silent["HEARD"] == "not heard for 65 s"
    assert "1/2 nodes" in text_of(draw_summary(answers(still, "nodes")))
    told = [text_of(one) for one in page(still, "node", "gpubox").lines]
    assert any("pancode fleet up gpubox" in one for one in told) and any("qwen3 32k" in one for one in told)


def test_how_a_node_is_reached_is_one_line() -> None:
    target: dict[str, Any] = {
        "alias": "gpubox",
        "host": "10.0.0.7",
        "port": 22,
        "user": "ana",
        "hops": [],
        "proxy": "",
    }
    assert nodes._reach({"target": target, "local": False}) == "ssh gpubox, 10.0.0.7, as ana"
    bastion = {**target, "port": 2222, "hops": [{"host": "bastion"}]}
    assert nodes._reach({"target": bastion}) == "ssh gpubox, 10.0.0.7:2222, as ana, by way of bastion"
    assert (nodes._reach({"target": {}, "local": True}), nodes._reach({})) == ("this machine", "-")


def test_the_queue_says_why(still: Scene) -> None:
    made = page(still, "waiting")
    assert cells(made, still.waits)["REASON"] == "the fleet is paused: a new disk"
    assert "the whole fleet is paused: a new disk" in text_of(made.above[0])
    assert "PAUSED" in text_of(draw_summary(answers(still, "waiting")))


def test_a_run_is_told_whole(still: Scene) -> None:
    told = [text_of(one) for one in page(still, "run", still.done).lines]
    for words in (
        still.done,
        "tidy the imports",
        "builder (scripted) on n1",
        "$0.10 (reported)",
        "STORY",
        "now: ended: done",
    ):
        assert any(words in one for one in told), (words, told)
    assert any("v verifies it" in one for one in told)


def test_a_workflow_has_its_steps(still: Scene) -> None:
    (row,) = page(still, "workflows").rows
    made = page(still, "workflow", row.key)
    (step,) = made.rows
    assert step.cells[:2] == ("lint", "pending") and step.enters is not None and step.enters.view == "run"


def test_issues_say_what_is_worked_on_and_a_tracker_is_asked_by_a_key(tracked: Scene) -> None:
    first = page(tracked, "issues")
    work, project = first.rows
    assert (work.key, cells(first, "SHOP-12")["TITLE"]) == ("SHOP-12", "Add login")
    assert work.enters == PagePlace("run", cells(first, "SHOP-12")["RUN"])
    assert (project.enters, "github:o/r" in cells(first, "shop")["TITLE"]) == (
        PagePlace("open", "shop"),
        True,
    )
    listed = page(tracked, "open", "shop")
    assert cells(listed, "SHOP-12")["RUN"] == cells(first, "SHOP-12")["RUN"]
    assert cells(listed, "SHOP-13")["FOR"] == "ana" and listed.rows[1].kind == "issue"
    _, _, rows = laid_out(listed, 80)
    assert not [c for one in rows for c in text_of(tuple(one)) if unicodedata.category(c) in ("Cc", "Cf")]


def test_the_inbox_has_words_and_choices(still: Scene) -> None:
    _, row, *_ = page(still, "inbox").rows
    assert row.cells == ("question", "choose the port", "Which port?", "n1", "3 s", "$0.10")
    told = [text_of(one) for one in page(still, "item", row.key).lines]
    assert any("9090" in one for one in told) and any("pancode answer" in one for one in told)
    assert "waits no longer" in text_of(page(still, "item", "gone").lines[0])


def test_everything_that_needs_the_user_is_in_its_group() -> None:
    needs = [need("r-1", NeedGroup.TO_LAND, "to_land"), need("w-1", NeedGroup.FAILED, "failed", run=None)]
    told = {"now": to_json(arrange_now(snapshot(0, needs=needs)))}
    head, failed, other, change = now.draw_needs(told, "", PageMoment.of(0)).rows
    assert (head.cells[1], other.cells[1]) == ("Failed", "To land")
    assert change.cells[:3] == ("to land", "mend it", "keep the column?") and change.cells[-1] == "$0.12"
    assert failed.cells[2] == "keep the column?: pancode x"
    assert change.enters is not None and (change.enters.view, failed.enters) == ("run", None)


def test_money_has_scopes_and_agents(still: Scene) -> None:
    made = page(still, "budget")
    (day,) = (row for row in made.rows if row.key.startswith("scope day:"))
    assert day.cells[1:5] == ("$0.20", "$0.10", "$9.70", "$10.00")
    assert cells(made, "agent builder")["RUNS"] == "2"


def test_agents_and_models(still: Scene) -> None:
    busy = [row for row in page(still, "agents").rows if row.cells[2] == "n1"]
    assert busy[0].cells[:2] == ("builder", "scripted") and "running" in busy[0].cells[3]
    (model,) = page(still, "models").rows
    assert model.cells[:4] == ("qwen3", "mid", "32k", "gpubox")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]52;c;QUJD\x07copied", "copied"),
        ("\x1b]0;title\x1b\\x", "x"),
        ("10 %\r20 %\r", "20 %"),
        ("a\tb", "a   b"),
        ("[red]kept[/red]", "[red]kept[/red]"),
        ("\x1b\x08\u202e", "\\x1b\\x08\\x202e"),
    ],
)
def test_lines_of_agents(text: str, told: str) -> None:
    assert texts.strip_escapes(text) == told


def test_a_diff_is_coloured_by_its_lines() -> None:
    data = b"diff --git a/x b/x\n@@ -1 +1 @@\n-old\n+new \x1b[2J\n same"
    made = texts.draw_diff({"diff": data}, "r-1", PageMoment.of(0))
    assert [(text_of(one), one[0][1]) for one in made.lines] == [
        ("diff --git a/x b/x", "bold"),
        ("@@ -1 +1 @@", "cyan"),
        ("-old", "red"),
        ("+new ", "green"),
        (" same", ""),
    ]
    assert text_of(texts.draw_diff({"diff": b"\n"}, "r-1", PageMoment.of(0)).lines[0]) == "it changed nothing"
    assert "more lines" in text_of(
        texts.draw_diff({"diff": b"x\n" * 60_000}, "r-1", PageMoment.of(0)).lines[-1]
    )


def test_the_coordinators_own_trouble_stands_above() -> None:
    trouble = {"what": "the disk is full", "why": "0 bytes", "fix": "make room"}
    told = {"fleet": {"coordinator": {"trouble": trouble, "closed": []}, "nodes": []}}
    assert [text_of(one) for one in list_troubles(told)] == ["the disk is full: 0 bytes", "  fix: make room"]
    assert nodes.draw_nodes(told, "", PageMoment.of(0)).empty.startswith("no node")


def test_an_empty_fleet_says_what_to_try() -> None:
    assert "pancode dispatch" in runs.draw_runs({"runs": {"runs": []}}, "", PageMoment.of(0)).empty
    assert (
        work.draw_queue({"queues": {"paused": None, "queues": []}}, "", PageMoment.of(0)).empty
        == "nothing waits"
    )


def test_a_beginning_of_several_pages_is_none() -> None:
    assert find_resource("w") is None, "waiting, workflows"
