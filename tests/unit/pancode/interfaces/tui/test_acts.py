"""The questions before an act name what will happen; the requests fit the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pancode.interfaces.tui.acts import ACTS, Act, add_flags, find_subject, format_choices, identify_place
from pancode.interfaces.tui.page import Page, PagePlace
from pancode.kernel.declared import to_json
from pancode.runs.needs import need_of_item
from tests.unit.pancode.interfaces.tui.scene import Scene

RUN: dict[str, Any] = {
    "run": "r-1", "runtime": "claude", "node": "gpubox", "agent": "builder", "task": "fix\x1b it",
    "usage": {"cost_usd": "0.42"}, "files_changed": ["a", "b"],
}  # fmt: skip
NODE: dict[str, Any] = {
    "name": "gpubox", "slots": {"used": 2, "total": 4}, "draining": None, "paused": None, "quarantined": None,
}  # fmt: skip
FLOW: dict[str, Any] = {
    "workflow": "w-1", "name": "three", "cost": {"usd": "1.5"},
    "steps": [{"finished_at": None, "state": "failed"}, {"finished_at": "x", "state": "done"}],
}  # fmt: skip


def item(kind: str = "landing", words: str = "2 files", call: int | None = None, *yes: str) -> dict[str, Any]:
    """Return the shape of a row about this item, with the acts that the API names for it."""
    facts: Any = {
        "id": "i",
        "run": "r-1",
        "since": "",
        "kind": kind,
        "words": words,
        "choices": [],
        "call": call,
    }
    facts |= {
        "choices": [],
        "command": "pancode x",
        "yes": list(yes),
        "whole": "",
        "title": "mend",
        "plan": None,
    }
    need = to_json(need_of_item(facts, None))
    return {**need, **need["item"]}


ITEM = item("landing", "2 files", None, "--with-commands")


def act(name: str, kind: str, shape: dict[str, Any], words: str = "") -> Act:
    return ACTS[name, kind].act(shape, words)


@pytest.mark.parametrize(
    ("name", "kind", "shape", "question"),
    [
        ("stop", "run", RUN, "Stop run r-1: claude on gpubox, $0.42 so far?"),
        (
            "stop",
            "run",
            {**RUN, "node": None, "usage": {"cost_usd": None}},
            "Stop run r-1: claude, on no node yet, cost not known yet?",
        ),
        ("retry", "run", RUN, r"Retry r-1 as a new run: builder (claude), 'fix\\x1b it'?"),
        (
            "land",
            "run",
            RUN,
            "Land r-1: write 2 files into the checkout it was dispatched from, gates first?",
        ),
        (
            "begin",
            "issue",
            {"issue": "SHOP-1", "title": "fix\x1b it"},
            r"Have an agent work on SHOP-1 'fix\\x1b it', in a workspace of its own, and tell its tracker?",
        ),
        ("drain", "node", NODE, "Drain gpubox: nothing new starts there, 2 runs in flight continue?"),
        ("drain", "node", {**NODE, "draining": "a disk"}, "Resume gpubox: it takes new work again?"),
        ("stop", "workflow", FLOW, "Stop workflow w-1: 1 step not ended, $1.50 so far?"),
        ("drop", "run", RUN, "Drop r-1 (2 files)? Its change is kept, but it is no longer in the inbox."),
        (
            "resolve",
            "run",
            RUN,
            "Let an agent settle the conflict of r-1 with your files? Its result is a run of its own.",
        ),
        (
            "continue",
            "workflow",
            FLOW,
            "Begin 1 step of w-1 again that did not succeed? Completed steps are kept.",
        ),
        ("retry", "workflow", FLOW, "Retry workflow w-1 'three': all of it anew, as a new workflow?"),
        (
            "approve",
            "item",
            ITEM,
            "Approve “mend” (r-1) with --with-commands? Its gates run on the merged files first."
            "\n    2 files",
        ),
        (
            "approve",
            "item",
            item("dispatch", "it costs $3"),
            "Approve “mend” (r-1)? It continues.\n    it costs $3",
        ),
        ("deny", "item", ITEM, "Deny “mend” (r-1)? It is not asked about again. No undo."),
    ],
)
def test_a_question_names_what_will_happen(
    name: str, kind: str, shape: dict[str, Any], question: str
) -> None:
    assert act(name, kind, shape).question == question


def test_a_command_is_asked_about_in_its_own_lines_and_whole() -> None:
    words = f"ls # looks\ncurl x\t|sh\x1b{'宽' * 300}"
    made = act("approve", "item", item("call", words, 3))
    first, *command = made.question.splitlines()
    assert first == "Approve “mend” (r-1)? It continues."
    assert command == ["    ls # looks", rf"    curl x\x09|sh\x1b{'宽' * 300}"] and made.body == {"call": 3}


def test_an_approval_says_yes_to_exactly_what_is_held() -> None:
    assert act("approve", "item", ITEM).body == {"with_commands": True}
    asked = add_flags(act("land", "run", RUN), "it changes .github/x", "--with-commands --with-secret")
    assert asked.body == {"with_commands": True, "with_secret": True} and ".github/x" in asked.question
    assert asked.path == "/v1/runs/r-1/land"


def test_choices_stand_with_their_numbers() -> None:
    assert (
        format_choices({"words": "Which?", "choices": ["left", "right"]}) == "Which?\n  1: left\n  2: right"
    )


def send_each(
    scene: Scene, sent: Mapping[tuple[str, str], str], refused: Mapping[tuple[str, str], str]
) -> None:
    """Send each act's request, with the shapes that the API answers with itself. `refused`: its words."""
    client = scene.client
    for (name, kind), about in sent.items():
        chosen = ACTS[name, kind]
        assert chosen.look is not None
        made = chosen.act(client.get(chosen.look(about).path), "words")
        if (name, kind) in refused:
            with pytest.raises(Exception, match=refused[name, kind]):
                client.post(made.path, {"by": "ada", **made.body})
        else:
            client.post(made.path, {"by": "ada", **made.body})


def test_the_api_takes_each_request(scene: Scene) -> None:
    client = scene.client
    sent = {
        ("stop", "run"): scene.works,
        ("retry", "run"): scene.done,
        ("drain", "node"): "n1",
        ("stop", "workflow"): (flow := client.get("/v1/workflows")["workflows"][0]["workflow"]),
        ("continue", "workflow"): flow,
        ("continue", "run"): scene.done,
    }
    refused = {  # the API's own words: a script takes none
        ("continue", "workflow"): "has not ended",
        ("continue", "run"): "cannot take messages",
    }
    send_each(scene, sent, refused)
    assert client.get("/v1/nodes/n1")["draining"] == "drained by ada"


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (PagePlace("run", "r-1"), "run"),
        (PagePlace("log", "r-1"), "run"),
        (PagePlace("node", "gpubox"), "node"),
        (PagePlace("workflow", "w-1"), "workflow"),
    ],
)
def test_keys_act_on_what_a_page_will_show_before_its_answers_are_there(place: PagePlace, kind: str) -> None:
    about = find_subject(Page(shape=identify_place(place)), None, place)
    assert (about.kind_for(frozenset({kind})), about.name(kind)) == (kind, place.about)


@pytest.mark.parametrize("place", [PagePlace("runs"), PagePlace("item", "i")])
def test_keys_wait_for_the_answers_where_they_say_what_is_asked(place: PagePlace) -> None:
    assert not find_subject(Page(shape=identify_place(place)), None, place).kinds
