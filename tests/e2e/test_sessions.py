"""Sessions over real hosts: turns, two faces, leaving, rest, and the next sitting, which remembers."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pancode.errors import ExitCode
from tests.clis.hands import HANDS
from tests.clis.launched import EVERY
from tests.crowd import crowded
from tests.e2e.owner import Owner, until
from tests.e2e.programs import (
    PORT,
    await_state,
    give_prices,
    give_secrets,
    installed,
    model_on,
    project,
    requests_in,
)
from tests.e2e.test_programs import K
from tests.lab import Lab

pytestmark = pytest.mark.slow
CLI = next(cli for cli in EVERY if cli.runtime == "native")
USED = {"input": 1200, "output": 34}


def says(text: str) -> dict[str, Any]:
    return {"text": text, "usage": USED}


def state(fleet: Owner, session: str) -> str:
    return str(fleet.ask("sessions", "show", session)["state"])


def test_a_chat_is_left_and_come_back_to_and_the_next_sitting_remembers(
    fleet: Owner, lab: Lab, tmp_path: Path
) -> None:
    """It takes more than 30 s: three sittings on a real host, each begun, committed and verified."""
    top = project(fleet, "talked")
    given = CLI.env(f"http://127.0.0.1:{PORT}")
    where = ("--runtime", "native", "--model", CLI.model, "--node", f"node{K}")
    turns = [HANDS["native"].write("${cwd}/made.txt", "one"), says("I made it."), says("It says one.")]
    turns += [says("Ben may know."), says("As I said: one.")]
    with installed(lab, "native", [K]):
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        await_state(fleet, K, "native", "ok")
        with model_on(lab, K, {"count": "assistant", "turns": turns}) as log:
            first = fleet.run("chat", *where, "make a file", cwd=top, timeout_s=90).ok()
            session = fleet.ask("sessions", "show", "last")["session"]
            assert "I made it." in first.out and f"session {session}: agent builder, as nobody" in first.err
            assert f"pancode attach {session}" in first.err
            assert state(fleet, session) == "waits for you", "who leaves ends nothing"
            listed = fleet.ask("sessions")["sessions"]
            assert [one["session"] for one in listed][:1] == [session]

            _seen_by_two(fleet, session, tmp_path / "seen")
            whole = fleet.run("runs", "logs", "--raw", session).ok().out
            end = whole.index("\n", whole.index('"turn_end"')) + 1
            rest = fleet.run("attach", "--since", f"{session}:{end}", session).ok().out
            assert "I made it." not in rest and rest.count("It says one.") == 1

            again = fleet.ask("attach", "--once", session, "say it again", timeout_s=120)
            assert (again["answer"], again["stop"], again["state"]) == (
                "As I said: one.",
                "end_turn",
                "rests",
            )
            assert again["run"] == session and again["commit"]
        turns.append(says("I remember: one."))
        with model_on(lab, K, {"count": "assistant", "turns": turns}) as log:
            later = fleet.ask("attach", "--once", session, "and now?", timeout_s=120)
            asked = max((log.parent / "bodies").iterdir()).read_text()
    assert later["run"] != session and later["session"] == session and later["stop"] == "end_turn"
    assert later["answer"] == "I remember: one." and "what does it say?" in asked and "and now?" in asked
    shown = fleet.show(later["run"])
    assert (shown["continues"], shown["session"]) == (session, "same")
    sittings = fleet.ask("sessions", "show", session)["sittings"]
    assert [(one["run"], one["turns"]) for one in sittings] == [(session, 4), (later["run"], 1)]
    for run in (session, later["run"]):
        assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"
    receipt = fleet.ask("receipt", "show", session)["statement"]["predicate"]
    assert [turn["stop"] for turn in receipt["turns"]] == ["end_turn"] * 4 and receipt["rests"] == "asked"
    ended = fleet.ask("sessions", "end", session)
    assert ended["state"] == "ended"
    fleet.run("land", later["run"], cwd=top).ok()
    assert (top / "made.txt").read_text() == "one"


def _seen_by_two(fleet: Owner, session: str, shown: Path) -> None:
    """One face stays attached while another one speaks, and then a command: each sees all, once."""
    with shown.open("w") as out:
        face = subprocess.Popen(
            fleet.argv("attach", session),
            env=fleet.env,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        second = fleet.run("attach", session, "what does it say?", timeout_s=90).ok()
        assert "I made it." in second.out and second.out.count("It says one.") == 1
        turned = fleet.ask("tell", session, "who knows more?")
        assert turned["run"] == session and turned["sent"]
        until(lambda: "Ben may know." in shown.read_text(), "the third turn is seen", 60)
        until(lambda: state(fleet, session) == "waits for you", "the third turn ends", 60)
        _, noted = face.communicate("/detach\n", timeout=60)
    finally:
        face.kill()
    assert face.returncode == 0 and "goes on" in noted
    said = ("what does it say?", "It says one.", "who knows more?", "Ben may know.")
    assert [shown.read_text().count(text) for text in said] == [1, 1, 1, 1]


def at_a_terminal(fleet: Owner, *words: str, types: list[tuple[str, bytes]]) -> str:
    """All that a command shows on a terminal; each text that comes is answered with these keys."""
    above, below = pty.openpty()
    face = subprocess.Popen(
        fleet.argv(*words), env=fleet.env, stdin=below, stdout=below, stderr=below, start_new_session=True
    )
    os.close(below)
    shown = b""
    try:
        for text, keys in types:
            while text.encode() not in shown:
                assert select.select([above], [], [], 120 * crowded())[0], f"no {text!r} came: {shown!r}"
                shown += os.read(above, 4096)
            os.write(above, keys)
        with suppress(OSError):  # the terminal is gone with the last who had it
            while select.select([above], [], [], 120 * crowded())[0] and (piece := os.read(above, 4096)):
                shown += piece
        assert face.wait(60) == 0, shown
    finally:
        face.kill()
        os.close(above)
    return shown.decode("utf-8", "replace")


def test_lines_of_a_pipe_are_turns_and_a_terminal_goes_on_with_them(fleet: Owner, lab: Lab) -> None:
    given = CLI.env(f"http://127.0.0.1:{PORT}")
    where = ("--runtime", "native", "--model", CLI.model, "--node", f"node{K}", "--workspace", "none")
    script = {"count": "assistant", "turns": [says("One."), says("Two."), says("Three.")]}
    with installed(lab, "native", [K]):
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        await_state(fleet, K, "native", "ok")
        with model_on(lab, K, script):
            said = fleet.run("chat", *where, stdin="first\nsecond\n", timeout_s=120).ok()
            assert 0 <= said.out.find("One.") < said.out.find("Two.")
            session = fleet.ask("sessions", "show", "last")["session"]
            shown = at_a_terminal(
                fleet, "attach", "--plain", session, types=[("Two.", b"third\n"), ("Three.", b"\x04")]
            )
            assert "One." in shown and f"come back: pancode attach {session}" in shown
            fleet.run("sessions", "end", session).ok()
            until(lambda: state(fleet, session) == "ended", "it has ended", 60)
    assert [one["turns"] for one in fleet.ask("sessions", "show", session)["sittings"]] == [3]


def test_at_its_cap_a_sitting_rests_and_its_session_takes_no_more_until_it_may(
    fleet: Owner, lab: Lab
) -> None:
    """It takes more than 30 s: three sittings on a real host. Each call costs half a dollar."""
    given = CLI.env(f"http://127.0.0.1:{PORT}")
    where = ("--runtime", "native", "--model", CLI.model, "--node", f"node{K}", "--workspace", "none")
    call = {"input": 1000, "output": 0}
    acts = [{**HANDS["native"].shell(f"echo {number}"), "usage": call} for number in range(3)]
    one, never = {"text": "One.", "usage": call}, {"text": "Never.", "usage": call}
    with installed(lab, "native", [K]):
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        give_prices(lab, K, {CLI.model: "500 500 500 500"})
        await_state(fleet, K, "native", "ok")
        with model_on(lab, K, {"count": "assistant", "turns": [one, *acts, never]}) as log:
            asked = fleet.run("chat", *where, "--budget", "2", stdin="first\nand work\n", timeout_s=120)
            assert "One." in asked.out and "Never." not in asked.out and "it rests: cap" in asked.out
            assert len(requests_in(log)) == 4, "no call beyond its cap has reached the model server"
            session = fleet.ask("sessions", "show", "last")["session"]
            until(lambda: state(fleet, session) == "rests", "it rests", 60)
            claims = fleet.ask("receipt", "show", session)["statement"]["predicate"]
            assert [turn["stop"] for turn in claims["turns"]] == ["end_turn", "limit"]
            assert (claims["rests"], Decimal(claims["usage"]["cost_usd"])) == ("cap", Decimal(2))
            money = fleet.ask("sessions", "show", session)["money"]
            assert (money["ceiling_usd"], Decimal(money["left_usd"])) == ("2", Decimal(0))
            refused = fleet.run("attach", "--once", session, "go on", timeout_s=60)
            fix = f"pancode budget set 3 --scope session:{session}"
            assert refused.code == ExitCode.REFUSED and fix in refused.err, refused
            fleet.run(*fix.split()[1:]).ok()
        two = {"text": "Two.", "usage": call}
        with model_on(lab, K, {"count": "assistant", "turns": [one, *acts, never, two]}):
            later = fleet.ask("attach", "--once", session, "go on", timeout_s=120)
    assert (later["answer"], later["stop"], Decimal(later["money"]["left_usd"])) == (
        "Two.",
        "end_turn",
        Decimal("0.5"),
    )
    rows = {row["key"]: row["usd"] for row in fleet.ask("cost", "--by", "session")["rows"]}
    assert Decimal(rows[session]) == Decimal("2.5")


def test_a_session_that_is_left_alone_asks_at_its_cap_and_ends_when_its_gates_pass(
    fleet: Owner, lab: Lab
) -> None:
    """It takes more than 30 s: three sittings on a real host. Each call costs half a dollar."""
    given, top = CLI.env(f"http://127.0.0.1:{PORT}"), project(fleet, "left-alone")
    where = (
        "--runtime",
        "native",
        "--model",
        CLI.model,
        "--node",
        f"node{K}",
        "--verify",
        "test -f made.txt",
    )
    call = {"input": 1000, "output": 0}
    look = {**HANDS["native"].shell("ls"), "usage": call}
    write = {**HANDS["native"].write("${cwd}/made.txt", "one"), "usage": call}
    done, cut = {"text": "It is done.", "usage": call}, {"text": "[cut]", "usage": call}
    with installed(lab, "native", [K]):
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        give_prices(lab, K, {CLI.model: "500 500 500 500"})
        await_state(fleet, K, "native", "ok")
        with model_on(lab, K, {"count": "assistant", "turns": [look, look, cut, done, write, done]}):
            alone = ("--until-verified", "--budget", "1", "--on-cap", "ask", "make it")
            begun = fleet.run("chat", *where, *alone, cwd=top, stdin="", timeout_s=120)
            session = fleet.ask("sessions", "show", "last")["session"]
            until(lambda: state(fleet, session) == "asks", f"it asks at its cap: {begun}", 90)
            asked = fleet.ask("sessions", "show", session)["asks"]
            assert asked["command"] == f"pancode approve {session}", asked
            assert "used $1.00 of $1.00" in asked["words"] and "$2.00 more?" in asked["words"]
            fleet.run(*asked["command"].split()[1:]).ok()

            def ends() -> list[str | None]:
                return [one["outcome"] for one in fleet.ask("sessions", "show", session)["sittings"]]

            wanted = ["budget_exceeded", "verify_failed", "done"]
            until(lambda: ends() == wanted, "its gates pass in the third sitting", 120, ends)
    shown = fleet.ask("sessions", "show", session)
    assert (shown["state"], shown["money"]["ceiling_usd"]) == ("rests", "3.0")
    assert "the gates said:" in fleet.show(shown["run"])["task"]


def test_a_session_is_landed_and_proven_while_it_goes_on(fleet: Owner, lab: Lab) -> None:
    """It takes more than 30 s: two sittings on a real host, each committed and landed."""
    given, top = CLI.env(f"http://127.0.0.1:{PORT}"), project(fleet, "landed-live")
    where = ("--runtime", "native", "--model", CLI.model, "--node", f"node{K}")
    turns = [HANDS["native"].write("${cwd}/one.txt", "one"), says("I made it.")]
    turns += [HANDS["native"].write("${cwd}/two.txt", "two"), says("And two.")]
    with installed(lab, "native", [K]):
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        await_state(fleet, K, "native", "ok")
        with model_on(lab, K, {"count": "assistant", "turns": turns}):
            fleet.run("chat", *where, "make a file", cwd=top, timeout_s=90).ok()
            session = fleet.ask("sessions", "show", "last")["session"]
            assert state(fleet, session) == "waits for you"
            early = fleet.run("runs", "diff", session)
            assert early.code != 0 and f"pancode sessions rest {session}" in early.err, early
            landed = fleet.run("land", session, cwd=top, timeout_s=180).ok()
            assert "it goes on with your next words" in landed.err, landed
            assert (top / "one.txt").read_text() == "one" and state(fleet, session) == "rests"

            fleet.run("attach", session, "and another", timeout_s=120).ok()
            assert state(fleet, session) == "waits for you"
            rested = fleet.ask("sessions", "rest", session, timeout_s=120)
    assert rested["state"] == "rests" and len(rested["sittings"]) == 2
    change = fleet.run("runs", "diff", session).ok().out
    assert "two.txt" in change and "one.txt" not in change, "what has landed is not counted again"
    proof = fleet.ask("receipt", "verify", session)
    assert proof["verdict"] == "PASS" and [one["verdict"] for one in proof["sittings"]] == ["PASS"] * 2, proof
    assert f"{rested['run']} goes on from {session}" in [check["what"] for check in proof["checks"]]
    fleet.run("land", session, cwd=top, timeout_s=120).ok()
    assert (top / "two.txt").read_text() == "two"


def test_what_takes_no_turns_is_refused_with_the_fix(fleet: Owner) -> None:
    top = project(fleet, "no-turns")
    said = fleet.run("chat", "--runtime", "claude", "--once", "hello", cwd=top)
    assert said.code == 2 and "takes no turns" in said.err and "--runtime native" in said.err
