"""`pancode acp` over real hosts, with the official SDK of ACP as the editor."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clis.hands import HANDS
from tests.clis.install import CannotInstall, ensure
from tests.clis.launched import EVERY
from tests.crowd import crowded
from tests.e2e.owner import Owner, until
from tests.e2e.programs import PORT, await_state, give_secrets, installed, model_on, project
from tests.e2e.test_mcp import ask, talking
from tests.e2e.test_people import ASKING
from tests.e2e.test_programs import K
from tests.lab import Lab

pytestmark = pytest.mark.slow
CLI = next(cli for cli in EVERY if cli.runtime == "native")
CLIENT = Path(__file__).with_name("acp_client.py")
Json = dict[str, Any]


def says(text: str) -> Json:
    return {"text": text, "usage": {"input": 1200, "output": 34}}


class Editor:
    """An editor that has started `pancode acp`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def begin(self, what: str, **more: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self._process.stdin.flush()

    def end(self) -> Json:
        assert self._process.stdout is not None
        told: Json = json.loads(self._process.stdout.readline())
        return told

    def do(self, what: str, **more: Any) -> Json:
        self.begin(what, **more)
        told = self.end()
        assert "result" in told, told
        return told


@contextmanager
def editor(fleet: Owner, *options: str) -> Iterator[Editor]:
    try:
        python = ensure("acp-sdk").parent / "env/bin/python"
    except CannotInstall as exc:
        pytest.skip(f"the SDK cannot be installed here: {exc}")
    with subprocess.Popen(
        [str(python), str(CLIENT), *fleet.argv("acp", *options)],
        cwd=fleet.home,
        env=fleet.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Editor(process)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(30 * crowded()) == 0
        finally:
            process.kill()


def shown(told: Json, kind: str) -> str:
    """The text of all updates of this kind."""
    return "".join(one["content"]["text"] for one in told["updates"] if one["sessionUpdate"] == kind)


def calls(told: Json) -> list[tuple[str, str]]:
    kinds = ("tool_call", "tool_call_update")
    return [(one["sessionUpdate"], one["status"]) for one in told["updates"] if one["sessionUpdate"] in kinds]


def test_an_editor_talks_asks_cancels_and_finds_its_session_again(fleet: Owner, lab: Lab) -> None:
    """It takes more than 30 s: two editors, two interactive runs on a real host."""
    top, hands = project(fleet, "edited"), HANDS["native"]
    (top / "pansafety.yaml").write_text(ASKING)
    given = CLI.env(f"http://127.0.0.1:{PORT}")
    options = ("--runtime", "native", "--model", CLI.model, "--budget", "0.50", "--safety", "full-auto")
    turns = [hands.write("${cwd}/made.txt", "one"), says("I made it.")]
    turns += [hands.shell("printf asked-%s 1 > yes.txt"), says("It ran.")]
    turns += [hands.shell("printf asked-%s 2 > no.txt"), says("It did not.")]
    turns += [hands.shell("sleep 300"), says("what was cut counts as an answer")]
    turns += [says("After the cancel."), says("For the other agent.")]
    with installed(lab, "native", [K]):
        give_secrets(lab, K, {name: value for name, value in given.items() if "RETRIES" not in name})
        await_state(fleet, K, "native", "ok")
        with model_on(lab, K, {"count": "assistant", "turns": turns}):
            with editor(fleet, *options) as zed:
                told = zed.do("begin")["result"]
                assert (told["protocolVersion"], told["agentCapabilities"]["loadSession"]) == (1, True)
                begun = zed.do("new", cwd=str(top))["result"]
                session = begun["sessionId"]
                machines = next(one for one in begun["configOptions"] if one["id"] == "node")
                assert f"node{K}" in [one["value"] for one in machines["options"]]
                zed.do("choose", session=session, option="node", value=f"node{K}")

                made = zed.do("say", session=session, text="make a file")
                assert made["result"]["stopReason"] == "end_turn"
                assert calls(made) == [("tool_call", "in_progress"), ("tool_call_update", "completed")]
                call = next(one for one in made["updates"] if one["sessionUpdate"] == "tool_call")
                assert call["kind"] == "edit" and call["locations"] == [{"path": str(top / "made.txt")}]
                run = fleet.ask("sessions", "show", "last")["session"]
                assert shown(made, "agent_message_chunk") == "I made it."
                own = shown(made, "agent_thought_chunk")
                assert f"pancode land {run}" in own, "PanCode's own lines are beside the agent's answer"
                assert "make a file" not in shown(made, "user_message_chunk"), "the editor shows it itself"

                _answers_here_and_elsewhere(fleet, zed, session)
                cut = zed.do("say", session=session, text="sleep", cancel="tool_call")
                assert cut["result"]["stopReason"] == "cancelled"
            assert fleet.ask("sessions", "show", run)["state"] == "waits for you", "it outlives the editor"

            with editor(fleet, *options) as again:
                again.do("begin")
                found = again.do("list", cwd=str(top))["result"]["sessions"]
                assert [one["sessionId"] for one in found] == [session]
                replayed = again.do("load", session=session, cwd=str(top))
                words = shown(replayed, "user_message_chunk")
                said = [words.find(one) for one in ("make a file", "ask me once", "ask me again", "sleep")]
                assert said == sorted(said) and said[0] >= 0, words
                assert "It ran." in shown(replayed, "agent_message_chunk")
                more = again.do("say", session=session, text="and now?")
                assert shown(more, "agent_message_chunk") == "After the cancel."
                _another_agent_speaks(fleet, run)
                rested = again.do("say", session=session, text="/rest")
                assert f"pancode land {run}" in shown(rested, "agent_thought_chunk")
            fleet.run("land", run, cwd=top).ok()
    assert (top / "made.txt").read_text() == "one" and (top / "yes.txt").read_text() == "asked-1"
    assert not (top / "no.txt").exists()
    assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"


def _answers_here_and_elsewhere(fleet: Owner, zed: Editor, session: str) -> None:
    """A user answers one card in the editor; another user is faster with the second one."""
    ran = zed.do("say", session=session, text="ask me once", choose="allow_once")
    assert ran["result"]["stopReason"] == "end_turn" and "It ran." in shown(ran, "agent_message_chunk")
    (card,) = ran["cards"]
    assert "printf asked-%s 1" in json.dumps(card)
    zed.begin("say", session=session, text="ask me again")
    until(lambda: fleet.items(), "it waits for a user", 60)
    fleet.run("deny", "--call", "2", "last", "not this").ok()
    denied = zed.end()
    assert denied["result"]["stopReason"] == "end_turn" and "It did not." in shown(
        denied, "agent_message_chunk"
    )
    assert len(denied["cards"]) >= 1


def _another_agent_speaks(fleet: Owner, run: str) -> None:
    """Through the MCP server: words, their turn, and all that was said since a number."""
    with talking(fleet) as process:
        ask(process, "initialize", protocolVersion="2025-06-18", clientInfo={"name": "a-test"})

        def call(name: str, **given: Any) -> Any:
            return ask(process, "tools/call", name=name, arguments=given)["structuredContent"]

        assert run in [one["session"] for one in call("sessions")["sessions"]]
        before = call("session_read", run=run)
        assert {"agent": "It ran."} in before["told"]
        call("say", run=run, text="anything else?", seconds=50)
        until(lambda: call("sessions")["sessions"][0]["state"] == "waits for you", "it has answered", 60)
        told = call("session_read", run=run, since=before["since"])["told"]
        assert [one.get("said", one.get("agent")) for one in told] == [
            *("anything else?", "For the other agent.", None)
        ]


def test_a_refusal_has_its_reason_and_nothing_begins(fleet: Owner) -> None:
    top = project(fleet, "refused")
    with editor(fleet, "--runtime", "shell") as zed:
        zed.do("begin")
        session = zed.do("new", cwd=str(top))["result"]["sessionId"]
        zed.begin("say", session=session, text="hello")
        refused = zed.end()["error"]
        assert "does not support chats" in refused["message"] and "--runtime native" in refused["message"]
        zed.begin("load", session="r-none", cwd=str(top))
        assert zed.end()["error"]["code"] == -32002
