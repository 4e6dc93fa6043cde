"""A model server on a host's own loopback: found, shown, given work through the gateway, gone when gone.

llama.cpp itself with a tiny model, PanCode's own worker and the real OpenCode. Over a minute and a half:
hosts, bring-up, two servers and two runs.
"""

from __future__ import annotations

from typing import Any

import pytest

from pancode.kernel.errors import ExitCode
from tests.e2e.owner import Owner, until
from tests.e2e.programs import await_state, installed, tiny_on
from tests.lab import Lab

pytestmark = pytest.mark.slow

K = 2
NODE = f"node{K}"


def endpoints(fleet: Owner) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in fleet.ask("models", "ls", "--servers", "--node", NODE)["endpoints"]}


def test_a_model_of_a_machines_own(fleet: Owner, lab: Lab) -> None:
    with installed(lab, "opencode", [K]), tiny_on(lab, K, 8080, "tiny", 32_768) as server:
        await_state(fleet, K, "opencode", "not_logged_in")
        with tiny_on(lab, K, 9931, "narrow", 4_096):
            found = {"llamacpp", "llamacpp-9931"}
            until(
                lambda: set(endpoints(fleet)) == found, "both servers are found", 60, lambda: endpoints(fleet)
            )
            shown_everywhere(fleet)
            refused_with_words(fleet)
        runs_through_the_gateway(fleet, "native")  # nobody said which
        runs_through_the_gateway(fleet, "opencode", "--runtime", "opencode")
        server.kill()
        until(lambda: not endpoints(fleet), "it is gone", 60, lambda: endpoints(fleet))
    gone = fleet.run("dispatch", "--model", "llamacpp/tiny", "--node", NODE, "--workspace", "none", "say so")
    assert gone.code == ExitCode.NOT_FOUND, gone
    assert "'llamacpp'" in gone.err and "pancode models ls --servers" in gone.err


def test_a_real_model_drives_panos(fleet: Owner, lab: Lab) -> None:
    """With all his tools offered: two turns, an answer each. It takes minutes on a CPU."""
    said = ("--model", "llamacpp/tiny", "--node", NODE, "--runtime", "native", "say [[hello]]")
    with tiny_on(lab, K, 8080, "tiny", 32_768):
        until(lambda: "llamacpp" in endpoints(fleet), "it is found", 60, lambda: endpoints(fleet))
        first = fleet.run("chat", "--agent", "panos", "--once", "--json", *said, timeout_s=180)
        assert first.code == ExitCode.DONE, first
        session = fleet.ask("sessions", "show", "last")
        assert (session["agent"], session["usage"]["cost_source"]) == ("panos", "local")
        again = fleet.run("attach", "--once", session["session"], "say [[again]]", timeout_s=180)
        assert again.code == ExitCode.DONE and "Hello" in again.out, again
    assert fleet.ask("receipt", "verify", session["session"])["verdict"] == "PASS"


def shown_everywhere(fleet: Owner) -> None:
    told = endpoints(fleet)["llamacpp"]
    assert (told["node"], told["dialect"], told["at"], told["health"]) == (
        NODE,
        "llamacpp",
        "127.0.0.1:8080",
        "ok",
    )
    assert {"chat", "responses", "messages"} == set(told["wires"])
    (model,) = (one for one in fleet.ask("models", "--node", NODE)["models"] if one["id"] == "tiny")
    assert (model["ref"], model["tier"]) == (f"{NODE}/llamacpp/tiny", "small")
    assert (model["ctx_usable"], model["residence"], model["tools"]) == (32_768, "loaded", True)
    assert fleet.ask("models", "--tier", "frontier")["models"] == []
    table = fleet.run("fleet", "status").ok().out
    assert "llamacpp: tiny 32k, llamacpp-9931: narrow 4k" in table
    assert fleet.nodes()["node1"]["endpoints"] == []


def refused_with_words(fleet: Owner) -> None:
    """Before anything runs: too small a context, a name that is not quite right, a program that cannot."""
    small = dispatch(fleet, "llamacpp-9931/narrow", "--runtime", "opencode")
    assert small.code == ExitCode.REFUSED
    assert "4096" in small.err and "--ctx-size" in small.err
    shorter = dispatch(fleet, "llamacpp-9931/narrow", "--runtime", "native")
    assert shorter.code == ExitCode.REFUSED, "its first call would fit: what comes after it would not"
    assert f"testing narrow on {NODE}" in shorter.err and "4096" in shorter.err
    near = dispatch(fleet, "llamacpp/tinny")
    assert near.code == ExitCode.NOT_FOUND
    assert "llamacpp/tiny?" in near.err and "llama-server -m FILE.gguf --alias tinny" in near.err
    other = dispatch(fleet, "llamacpp/tiny", "--runtime", "gemini")
    assert other.code == ExitCode.REFUSED and "gemini" in other.err


def runs_through_the_gateway(fleet: Owner, runtime: str, *words: str) -> None:
    """No key, no login, no variable: the node knows where it is."""
    said = dispatch(fleet, "llamacpp/tiny", *words, "--json")
    assert said.code == ExitCode.DONE, said
    run = said.json()
    assert run["runtime"] == runtime
    usage = run["usage"]
    assert (usage["cost_usd"], usage["cost_source"]) == ("0", "local")
    assert usage["input_tokens"] > 1_000 and usage["output_tokens"] > 0
    shown = fleet.show(run["run"])
    assert shown["attempts"][-1]["held_usd"] == "0"
    decided = " ".join(one["detail"] for one in fleet.ask("why", run["run"])["decisions"])
    assert "has it loaded" in decided
    assert fleet.ask("receipt", "verify", run["run"])["verdict"] == "PASS"


def dispatch(fleet: Owner, model: str, *words: str) -> Any:
    base = ["dispatch", "--model", model, "--node", NODE, "--workspace", "none", "--attempts", "1"]
    return fleet.run(*base, *words, "say [[hello]]", timeout_s=180)
