"""Ollama, LM Studio, vLLM and a llama.cpp router on a host's own loopback, by faithful fakes: each is found,
tested and given work through the gateway, and nothing is ever loaded, woken or evicted by it. vLLM wants a
key and is asked over TLS, by a certificate of its owner's own authority.

About a minute: four dispatches to a real host, each with the test of its model before it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pancode.kernel.errors import ExitCode
from tests.crowd import crowded
from tests.e2e.owner import Owner, until
from tests.e2e.programs import ROOT, give_secrets, installed, on_host, project
from tests.endpointfakes.working import KEY, WIDE
from tests.integration.gateway.tls import authority
from tests.lab import Lab

pytestmark = pytest.mark.slow

K = 1
NODE = f"node{K}"
VLLM = {"name": "vllm", "url": "https://127.0.0.1:8000", "key": "VLLM_KEY"}
WORK = {
    "ollama/qwen3:8b": 11434,
    "lmstudio/qwen/qwen3-coder-30b": 1234,
    "vllm/Qwen/Qwen3-8B": 8000,
    "llamacpp/big": 8080,
}


WRITE = "cd ~/.pancode-node/f-* && umask 077 && cat >"


@contextmanager
def homelab(lab: Lab, log: Path) -> Iterator[None]:
    """The four servers, and the owner's word for the one that wants a key; not yet for its authority."""
    authority(log.parent)
    inside = ["ip", "netns", "exec", lab.link(K)]
    argv = [*inside, sys.executable, "-m", "tests.endpointfakes", str(log), str(log.with_name("server.pem"))]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as servers:
        assert servers.stdin is not None and servers.stdout is not None
        assert servers.stdout.readline() == b"ready\n"
        try:
            give_secrets(lab, K, {"VLLM_KEY": KEY})
            on_host(lab, K, f"{WRITE} ca.pem", log.with_name("ca.pem").read_text())
            list_it(lab, VLLM)
            yield
        finally:
            on_host(lab, K, "rm -f ~/.pancode-node/f-*/endpoints.json ~/.pancode-node/f-*/ca.pem")
            servers.stdin.close()
            servers.wait(20 * crowded())


def list_it(lab: Lab, entry: dict[str, str]) -> None:
    on_host(lab, K, f"{WRITE} endpoints.json", json.dumps({"endpoints": [entry]}))


def noted(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def found(fleet: Owner) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in fleet.ask("models", "ls", "--servers", "--node", NODE)["endpoints"]}


def test_each_is_given_work_and_none_is_disturbed(fleet: Owner, lab: Lab, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with installed(lab, "native", [K]), homelab(lab, log):
        strange_certificate_is_refused(fleet)
        list_it(lab, {**VLLM, "ca": "ca.pem"})
        names = {"ollama", "lmstudio", "vllm", "llamacpp"}
        until(lambda: found(fleet).keys() >= names, "all are found", 60, lambda: found(fleet))
        told_as_they_are(fleet)
        for model in WORK:
            works(fleet, model)
        harmless(log)


def strange_certificate_is_refused(fleet: Owner) -> None:
    def problems() -> str:
        return fleet.run("fleet", "status").out

    until(lambda: "is not trusted: " in problems(), "the strange certificate is told", 60, problems)
    said = fleet.run(
        "dispatch", "--model", "vllm/Qwen/Qwen3-8B", "--node", NODE, "--workspace", "none", "hello"
    )
    assert said.code == ExitCode.NOT_FOUND, said
    assert "127.0.0.1:8000" in said.err
    assert '"ca": ' in said.err


def told_as_they_are(fleet: Owner) -> None:
    models = {one["ref"]: one for one in fleet.ask("models", "--node", NODE)["models"]}
    shown = {
        ref.removeprefix(f"{NODE}/"): (one["residence"], one["ctx_usable"]) for ref, one in models.items()
    }
    assert shown["ollama/qwen3:8b"] == ("loaded", WIDE)
    assert shown["ollama/cold:7b"] == ("not loaded", 4_096), "what Ollama would load it with"
    assert shown["lmstudio/qwen/qwen3-coder-30b"] == ("loaded", WIDE)
    assert shown["lmstudio/cold-studio"] == ("not loaded", None)
    assert shown["vllm/Qwen/Qwen3-8B"] == ("loaded", 40_960)
    assert shown["llamacpp/big"] == ("loaded", 16_384)
    assert shown["llamacpp/small"][0] == "not loaded"


def works(fleet: Owner, model: str) -> None:
    where = project(fleet, f"p{WORK[model]}")
    words = ["dispatch", "--model", model, "--node", NODE, "--attempts", "1", "[[work]] change notes.txt"]
    said = fleet.run(*words, "--json", cwd=where, timeout_s=180)
    assert said.code == ExitCode.DONE, said
    run = said.json()
    usage = run["usage"]
    assert (run["runtime"], usage["cost_usd"], usage["cost_source"]) == ("native", "0", "local")
    assert (usage["input_tokens"], usage["output_tokens"]) == (2_700, 90)
    receipt = fleet.ask("receipt", "show", run["run"])
    assert fleet.ask("receipt", "verify", run["run"])["verdict"] == "PASS", receipt
    assert "+BETA" in fleet.run("runs", "diff", run["run"], cwd=where).ok().out


def harmless(log: Path) -> None:
    """The calls of the tests and of the work were there, and no other one that a server acts upon."""
    asked = noted(log)
    assert asked[-1]["harm"] == [] and not any(one["harm"] for one in asked)
    for model, port in WORK.items():
        calls = [one for one in asked if one["port"] == port and one["method"] == "POST"]
        work = [one for one in calls if one["path"] == "/v1/chat/completions"]
        assert len(work) >= 3 + 3, (model, calls)
        assert {one["model"] for one in work} == {model.partition("/")[2]}
        assert {one["path"] for one in calls} - {"/v1/chat/completions", "/api/show"} == set()
