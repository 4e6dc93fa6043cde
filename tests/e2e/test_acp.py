"""Sessions of other programs over real hosts: the real one, spoken with over ACP, and a scripted model."""

from __future__ import annotations

import os

import pytest

from tests.clis.conftest import ADAPTERS
from tests.clis.hands import HANDS
from tests.clis.launched import Cli, runs
from tests.clis.test_talked import TALKS
from tests.e2e.owner import Owner, until
from tests.e2e.programs import await_state, give_prices, give_secrets, installed, model_on, project
from tests.e2e.test_people import ASKING, calls_that_wait
from tests.e2e.test_programs import PRICE, K, secrets
from tests.e2e.test_sessions import at_a_terminal, says, state
from tests.lab import Lab

pytestmark = pytest.mark.slow


WITHOUT_ADAPTERS = [cli for cli in TALKS if cli.runtime not in ADAPTERS]
"""The others are talked with in test_sessions.py, before and behind the install of the adapter."""


@pytest.fixture(params=WITHOUT_ADAPTERS, ids=lambda cli: cli.runtime)
def cli(request: pytest.FixtureRequest) -> Cli:
    chosen: Cli = request.param
    return chosen


def where(cli: Cli) -> tuple[str, ...]:
    return ("--runtime", cli.runtime, "--model", cli.model, "--node", f"node{K}", "--budget", "0.50")


def turns_of(fleet: Owner, run: str) -> list[tuple[str, str]]:
    receipt = fleet.ask("receipt", "show", run)["statement"]["predicate"]
    return [(turn["stop"], turn["why"]) for turn in receipt["turns"]]


def test_a_chat_works_is_come_back_to_and_remembers(fleet: Owner, lab: Lab, cli: Cli) -> None:
    """It takes more than 30 s: two interactive runs, and each starts the real program."""
    top = project(fleet, f"talked-{cli.runtime}")
    hand = HANDS[cli.runtime]
    turns = [
        hand.shell("printf one > made.txt; cat made.txt"),
        hand.write("${cwd}/new.txt", "BETA\n"),
        hand.shell("git push origin main"),
        says("I made it."),
    ]
    later_words = {"if": {"prompt": "what does it say"}, "turns": [says("It says one.")]}
    with installed(lab, cli.runtime, [K]):
        give_secrets(lab, K, secrets(cli))
        give_prices(lab, K, {cli.model: PRICE})
        await_state(fleet, K, cli.runtime, "ok")
        with model_on(lab, K, {"rules": [later_words], "turns": turns}):
            first = fleet.run(
                "chat", "--agent", "builder", *where(cli), "make a file", cwd=top, timeout_s=120
            ).ok()
            session = fleet.ask("sessions", "show", "last")["session"]
            assert "I made it." in first.out and "printf one > made.txt" in first.out
            assert state(fleet, session) == "waits for you", "who leaves ends nothing"
            again = fleet.ask("attach", "--once", session, "what does it say?", timeout_s=120)
            assert (again["answer"], again["stop"], again["state"]) == ("It says one.", "end_turn", "rests")
        with model_on(lab, K, {"turns": [says("I remember: one.")]}) as log:
            later = fleet.ask("attach", "--once", session, "and now?", timeout_s=120)
            bodies = [path.read_text() for path in (log.parent / "bodies").iterdir()]
    assert (later["answer"], later["stop"]) == ("I remember: one.", "end_turn")
    said = ("make a file", "printf one > made.txt", "I made it.", "what does it say?", "and now?")
    assert any(all(words in body for words in said) for body in bodies), "it remembers all of it"
    shown = fleet.show(later["run"])
    assert (shown["continues"], shown["session"]) == (session, "same")
    for run in (session, later["run"]):
        assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"
    receipt = fleet.ask("receipt", "show", session)["statement"]["predicate"]
    assert receipt["isolation"] == "sandbox" and receipt["rests"] == "asked"
    assert turns_of(fleet, session) == [("end_turn", "")] * 2
    assert any("git push" in finding for finding in receipt["findings"])
    fleet.run("sessions", "end", session).ok()
    fleet.run("land", later["run"], cwd=top).ok()
    assert ((top / "made.txt").read_text(), (top / "new.txt").read_text()) == ("one", "BETA\n")


def test_a_command_waits_for_a_user_and_a_cancelled_turn_ends(fleet: Owner, lab: Lab, cli: Cli) -> None:
    """It takes more than 30 s: the real program starts on a real host, and two users are waited for."""
    top = project(fleet, f"asked-{cli.runtime}")
    (top / "pansafety.yaml").write_text(ASKING)
    hand = HANDS[cli.runtime]
    turns = [hand.shell("printf asked-it > yes.txt"), hand.shell("printf asked-no > no.txt"), says("Done.")]
    works = f"sleep 611.{os.getpid()}"
    answers = {
        "say turn four": says("Continuing."),
        "work turn three": hand.shell(f"trap '' TERM; {works}"),
        "try turn two": hand.shell("printf asked-again > again.txt"),
    }
    script = {"rules": [{"if": {"prompt": words}, "turns": [turn]} for words, turn in answers.items()]}
    with installed(lab, cli.runtime, [K]), model_on(lab, K, {**script, "turns": turns}):
        give_secrets(lab, K, secrets(cli))
        give_prices(lab, K, {cli.model: PRICE})
        await_state(fleet, K, cli.runtime, "ok")
        begun = fleet.begin("chat", "--agent", "builder", *where(cli), "go", cwd=top)
        until(lambda: calls_that_wait(fleet) != [], "a user is asked", 120)
        ((run, call),) = calls_that_wait(fleet)
        fleet.run("approve", "--call", str(call), run).ok()
        until(lambda: calls_that_wait(fleet) == [(run, call + 1)], "call 2 waits", 60)
        fleet.run("deny", "--call", str(call + 1), run, "one is enough").ok()
        until(lambda: state(fleet, run) == "waits for you", "the turn ends", 60)
        types = [("Done.", b"try turn two\n"), ("printf asked-again", b"/cancel\n")]
        types += [("turn 2 ended: cancelled]", b"work turn three\n"), (works, b"/cancel\n")]
        types += [("turn 3 ended: cancelled]", b"say turn four\n"), ("Continuing.", b"\x04")]
        at_a_terminal(fleet, "attach", run, types=types)
        begun.communicate(timeout=60)
        assert calls_that_wait(fleet) == []
        until(lambda: not runs(works), "the command of the cancelled turn is over", 30)
        fleet.run("sessions", "end", run).ok()
        ended = fleet.ended(run)
    assert [stop for stop, _ in turns_of(fleet, run)] == ["end_turn", "cancelled", "cancelled", "end_turn"]
    assert "yes.txt" in ended["files_changed"] and not {"no.txt", "again.txt"} & set(ended["files_changed"])
