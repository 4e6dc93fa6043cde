"""`pancode node login` at a real terminal: a scripted vendor's login on a real host and on this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pancode.kernel.errors import ExitCode
from tests.e2e.ground import audited
from tests.e2e.owner import Owner, until
from tests.e2e.programs import on_host
from tests.lab import Lab
from tests.terminal import Terminal

pytestmark = pytest.mark.slow

K = 2
PROGRAM = """#!/bin/sh
case "$1" in
--version) echo "2.1.328 (Claude Code)"; exit 0;;
auth) test -n "$CLAUDE_CODE_OAUTH_TOKEN"; exit;;
setup-token) ;;
*) exit 9;;
esac
trap 'echo; echo caught; exit 4' INT
trap 'echo; echo "now $(stty size)"' WINCH
echo "window $(stty size)"
printf 'open https://vendor.example/device and type the code: '
while ! read -r code; do :; done
echo "window $(stty size), token sk-ant-oat01-$code"
test "$code" != wrong
"""
"""Of a vendor: shows an address, takes a code, prints a token."""


@contextmanager
def at_terminal(fleet: Owner, *words: str) -> Iterator[Terminal]:
    terminal = Terminal(fleet.argv(*words), fleet.env, fleet.home, (31, 97))
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.fixture(params=["a host", "this machine"])
def node(request: pytest.FixtureRequest, fleet: Owner, lab: Lab) -> Iterator[str]:
    """The name of a machine that has the program and nothing that logs it in."""

    def here(script: str, stdin: str = "") -> None:
        env = {"HOME": str(fleet.home), "PATH": fleet.env["PATH"]}
        subprocess.run(["sh", "-c", script], input=stdin, text=True, env=env, check=True)

    def there(script: str, stdin: str = "") -> None:
        on_host(lab, K, script, stdin)

    act: Callable[..., None] = there if request.param == "a host" else here
    name = f"node{K}" if request.param == "a host" else str(request.getfixturevalue("local"))
    act("mkdir -p ~/.local/bin && cat > ~/.local/bin/claude && chmod +x ~/.local/bin/claude", PROGRAM)
    until(lambda: fact(fleet, name).get("state") == "not_logged_in", "claude is found", 60)
    yield name
    act("rm -rf ~/.local/bin/claude ~/.pancode-node/f-*/logins ~/.pancode-node/f-*/secrets.json")


def fact(fleet: Owner, name: str) -> dict[str, str]:
    return next((r for r in fleet.nodes()[name]["runtimes"] if r["name"] == "claude"), {})


def logins(fleet: Owner, name: str) -> list[dict[str, Any]]:
    """On record, of this machine, the oldest first."""
    found = [one for one in audited(fleet) if one["what"].startswith("login ")]
    return sorted((one for one in found if one["detail"]["node"] == name), key=lambda one: one["number"])


def test_a_vendor_s_login_is_answered_at_the_terminal_and_runs_have_it(fleet: Owner, node: str) -> None:
    with at_terminal(fleet, "node", "login", node, "claude") as terminal:
        assert "window 31 97" in terminal.shows("type the code: ")
        terminal.resize(20, 60)
        terminal.shows("now 20 60")
        terminal.types("1234\r")
        assert "window 20 60, token sk-ant-oat01-1234" in terminal.shows("Enter for none): ")
        terminal.types("sk-ant-oat01-1234\r")
        assert terminal.ends() == 0
        shown = terminal.told.partition("Enter for none): ")[2]
        assert "logged in" in shown and "sk-ant" not in shown, "what is typed there is not shown"
    first, last = logins(fleet, node)[-2:]
    assert (first["what"], last["what"]) == ("login opened", "login ended")
    assert last["detail"] == {**first["detail"], "outcome": "exit 0"} and first["detail"]["by"]
    assert "sk-ant" not in json.dumps([first, last])
    told = fact(fleet, node)
    assert (told["state"], told["login"]) == ("ok", "subscription"), "it counts at once"
    assert "2.1.328 (subscription)" in fleet.run("runtimes").ok().out


def test_a_secret_is_set_from_a_prompt_or_a_pipe_and_counts_at_once(fleet: Owner, node: str) -> None:
    assert f"node secret {node} ANTHROPIC_API_KEY" in fact(fleet, node)["says"]
    with at_terminal(fleet, "node", "secret", node, "OTHER") as terminal:
        terminal.shows("OTHER for ")
        terminal.types("sk-hidden-1\r")
        assert terminal.ends() == 0 and "sk-hidden" not in terminal.told
    said = fleet.run("node", "secret", node, "CLAUDE_CODE_OAUTH_TOKEN", stdin="sk-ant-oat01-x\n").ok()
    assert "CLAUDE_CODE_OAUTH_TOKEN is set in " in said.out and "/secrets.json (14 characters)" in said.out
    assert fact(fleet, node)["state"] == "ok"
    empty = fleet.run("node", "secret", node, "OTHER", stdin="\n")
    assert empty.code == 2 and "the value is empty" in empty.err


def test_ctrl_c_is_for_the_login_and_its_status_is_ours(fleet: Owner, node: str) -> None:
    with at_terminal(fleet, "node", "login", node, "claude") as terminal:
        terminal.shows("type the code: ")
        terminal.types("\x03")
        terminal.shows("caught")
        assert terminal.ends() == ExitCode.DETACHED
    with at_terminal(fleet, "node", "login", node, "claude") as terminal:
        terminal.shows("type the code: ")
        terminal.types("wrong\r")
        assert terminal.ends() == 1 and "nothing was stored" in terminal.told
    ends = [one["detail"].get("outcome") for one in logins(fleet, node)[-4:]]
    assert ends == [None, "exit 130", None, "exit 1"]
    assert fact(fleet, node)["state"] == "not_logged_in"


def test_what_cannot_be_opened_is_said_with_the_fix(fleet: Owner, lab: Lab) -> None:
    missing = fleet.run("node", "login", f"node{K}", "codex")
    assert missing.code == 4 and f"node{K}" in missing.err, missing.err
    assert "npm install -g --ignore-scripts --prefix ~/.local @openai/codex@latest" in missing.err
    near = fleet.run("node", "login", f"node{K}", "cluade")
    assert near.code == 4 and "claude?" in near.err
    nowhere = fleet.run("node", "login", "nod2", "claude")
    assert nowhere.code == 4 and "node2?" in nowhere.err
    piped = fleet.run("node", "login", f"node{K}", "shell")
    assert piped.code == 2 and "a login needs a terminal" in piped.err
    assert logins(fleet, f"node{K}")[-1]["detail"]["outcome"] == "a login needs a terminal"
    with at_terminal(fleet, "node", "login", f"node{K}", "shell") as terminal:
        assert terminal.ends() == 1 and "shell needs no login" in terminal.told
