"""What an orchestrator may do about landings: it asks a user."""

from __future__ import annotations

import json

from node_agent.wire.control import UserMessage
from pancode.kernel.records import Run
from tests.unit.pancode.interfaces.http.test_tcp import ListenerWorld
from tests.unit.pancode.sessions.routes.test_fleet_tools import BUILD, Panos
from tests.unit.pancode.sessions.test_sessions import begin, say, sent, world

__all__ = ["world"]


def test_it_steers_only_what_it_has_begun(world: ListenerWorld) -> None:
    stranger = begin(world, task="another's")["run"]
    world.claim()
    panos = Panos(world)
    for tool, more in (
        ("tell", {"text": "stop that"}),
        ("stop", {}),
        ("land", {}),
        ("answer", {"text": "yes"}),
    ):
        for run in (stranger, panos.session):
            answer = panos.answer(tool, run=run, **more)
            assert not answer.ok and "not allowed from inside run" in answer.text
    assert world.context.row(Run, stranger).stop_asked is None
    assert sum(what == "refused from inside a run" for _, what, _ in panos.audited()) == 8


def test_to_land_is_a_question_to_a_user(world: ListenerWorld) -> None:
    panos = Panos(world)
    run = json.loads(panos.answer("dispatch", **BUILD).text)["run"]
    child = panos.works()
    early = panos.answer("land", run=run)
    assert not early.ok and "has nothing to land" in early.text
    world.context.depot.commits.add("d" * 40)
    world.node.deliver(child, change="change", commit="d" * 40, files_changed=("a.txt",))
    world.context.turn()
    answer = panos.answer("land", run=run)
    assert answer.ok and "approval is requested from a user" in answer.text, answer.text
    (item,) = world.http.get("/v1/inbox").json()["items"]
    assert (item["run"], item["kind"]) == (run, "landing") and "panos requests to land" in item["words"]
    assert world.context.row(Run, run).landed is None and not world.coordinator.code.ways
    asks = world.http.get(f"/v1/sessions/{panos.session}").json()["asks"]
    assert (asks["run"], asks["kind"], asks["words"]) == (run, "landing", item["words"]), "a card in the talk"
    world.http.post(f"/v1/runs/{run}/deny", {"by": "ana"})
    assert world.http.get(f"/v1/sessions/{panos.session}").json()["asks"] is None


def test_a_change_that_a_user_denied_is_not_asked_for_again(world: ListenerWorld) -> None:
    panos = Panos(world)
    run = json.loads(panos.answer("dispatch", **BUILD).text)["run"]
    child = panos.works()
    world.context.depot.commits.add("d" * 40)
    world.node.deliver(child, change="change", commit="d" * 40, files_changed=("a.txt",))
    world.context.turn()
    assert panos.answer("land", run=run).ok
    assert world.http.post(f"/v1/runs/{run}/deny", {"by": "ana"}).status_code == 200
    again = panos.answer("land", run=run)
    assert not again.ok and "was rejected by a user" in again.text
    assert panos.answer("propose_change", kind="budget", value="25").ok
    (card,) = [one for one in world.http.get("/v1/inbox").json()["items"] if one["kind"] == "change"]
    assert world.http.post(f"/v1/runs/{card['run']}/deny", {"by": "ana"}).status_code == 200
    assert not [one for one in sent(world) if isinstance(one, UserMessage)], "a no begins no turn"
    say(world, panos.session, "what now?")
    say(world, panos.session, "and then?")
    first, second = {one.number: one.text for one in sent(world) if isinstance(one, UserMessage)}.values()
    assert first == (
        f"(ana denied your request: to land the change of {run})\n\n"
        "(ana denied your request: budget day: $10 -> $25)\n\nwhat now?"
    )
    assert second == "and then?", "it is told once"
