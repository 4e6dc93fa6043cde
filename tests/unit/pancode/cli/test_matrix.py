"""What `pancode runtimes` shows: every machine, every runtime, and each fix once."""

from __future__ import annotations

from typing import Any

from pancode.cli.matrix import matrix

FIX = "npm install -g agent"
LOGIN = "put KEY into secrets.json"


def fact(node: str, state: str = "ok", version: str | None = None, fix: str = "", can: tuple = ()) -> dict:
    return {"node": node, "state": state, "version": version, "fix": fix, "can": list(can)}


def test_machines_by_runtimes_then_flags_then_fixes() -> None:
    agent: dict[str, Any] = {
        "name": "agent",
        "nodes": [
            fact("n1", "missing", fix=FIX),
            fact("n2", "not_logged_in", "1.2.3", LOGIN, ("stream", "usage")),
            fact("n3", "missing", fix=FIX),
            fact("n4", "ok", "1.2.3", can=("stream", "usage")),
            fact("n5", "ok", "9.0.0", "PanCode was measured with 1.x"),
        ],
    }
    shell = {"name": "shell", "nodes": [fact(f"n{k}") for k in range(1, 6)]}
    assert matrix([agent, shell, {"name": "native", "nodes": []}]).splitlines() == [
        "NODE  agent          shell  native",
        "n1    -              ok     -",
        "n2    not logged in  ok     -",
        "n3    -              ok     -",
        "n4    1.2.3          ok     -",
        "n5    9.0.0          ok     -",
        "",
        "RUNTIME  DOES ITSELF",
        "agent    stream, usage",
        "",
        "RUNTIME  ON      IS               FIX",
        "agent    n1, n3  missing          npm install -g agent",
        "agent    n2      not logged in    put KEY into secrets.json",
        "agent    n5      another version  PanCode was measured with 1.x",
    ]


def test_without_a_machine_it_says_so() -> None:
    assert matrix([{"name": "agent", "nodes": []}]) == "no machine was heard yet\n"
