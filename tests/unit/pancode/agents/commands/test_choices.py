"""What `pancode agents runtimes` shows: every machine, every runtime, and each fix once."""

from __future__ import annotations

from typing import Any

from node_agent.wire.policy import Isolation
from pancode.agents.answers import EvidenceShape, ModeShape
from pancode.agents.commands.choices import _format_tools, evidence_of, runtime_rows
from pancode.kernel.node import HOLDS, describe_isolation
from tests.fakes.answers import runtime, runtimes

FIX = "npm install -g agent"
MORE = "for flags, reasoning and logins of one runtime: pancode agents runtimes NAME"
LOGIN = "put KEY into secrets.json"


def fact(node: str, state: str = "ok", version: str | None = None, fix: str = "", can: tuple = ()) -> Any:
    return runtime("agent", state, node=node, version=version, fix=fix, can=list(can))


def test_a_row_for_each_runtime_then_one_for_each_fix() -> None:
    facts = (
        fact("n1", "missing", fix=FIX),
        fact("n2", "not_logged_in", "1.2.3", LOGIN, ("stream", "usage")),
        fact("n3", "missing", fix=FIX),
        fact("n4", "ok", "1.2.3", can=("stream", "usage")),
        fact("n5", "ok", "9.0.0", "PanCode was measured with 1.x"),
    )
    agent = runtimes("agent", *facts, installable=True, reasoning=["low", "high"])
    shell = runtimes("shell", *(fact(f"n{k}") for k in range(1, 6)))
    assert runtime_rows([agent, shell, runtimes("native")]).splitlines() == [
        "RUNTIME  READY                     NOT READY",
        "agent    1.2.3 on n4; 9.0.0 on n5  missing on n1, n3; not logged in on n2",
        "shell    ok on n1, n2, n3, n4, n5  -",
        "native   -                         -",
        "",
        "agent: missing on n1, n3",
        "  pancode node install n1 n3 agent",
        "  the nodes say: npm install -g agent",
        "agent: not logged in on n2",
        "  put KEY into secrets.json",
        "agent: another version on n5",
        "  PanCode was measured with 1.x",
        "",
        MORE,
    ]


def test_where_a_model_server_of_ones_own_is_nobody_has_to_log_in() -> None:
    served = {**fact("n1", "not_logged_in", "1", LOGIN), "endpoints": ["ollama"], "served": True}
    claude = {**fact("n1", "not_logged_in", "2.1", "log in"), "endpoints": ["ollama"], "served": False}
    told = runtime_rows(
        [
            runtimes("native", served, fact("n2", "not_logged_in", "1", LOGIN)),
            runtimes("claude", claude),
        ]
    )
    assert told.splitlines() == [
        "RUNTIME  READY                  NOT READY",
        "native   1 (own servers) on n1  not logged in on n2",
        "claude   -                      not logged in on n1",
        "",
        "native: for ollama; for other models on n1",
        "  put KEY into secrets.json",
        "native: not logged in on n2",
        "  put KEY into secrets.json",
        "claude: not logged in on n1",
        "  log in",
        "",
        MORE,
    ]


def test_what_holds_a_program_of_the_owners_choice_is_one_line() -> None:
    named = [runtimes(f"acp:{name}", fact("n1")) for name in ("kilo", "hermes")]
    told = runtime_rows(named).splitlines()
    assert [line for line in told if "command rules apply only where it asks" in line] == [told[4]]


def test_the_wall_of_each_machine_stands_with_what_it_holds() -> None:
    isolations: Any = [
        {"node": name, "isolation": kind, "holds": describe_isolation(kind)}
        for name, kind in (("n1", "sandbox"), ("n2", "landlock"), ("n3", "none"), ("n4", None))
    ]
    told = runtime_rows([runtimes("shell", fact("n1"))], isolations).splitlines()[3:-2]
    assert [line.split()[:2] for line in told] == [
        ["NODE", "ISOLATION"], ["n1", "sandbox"], ["n2", "landlock"], ["n3", "none"], ["n4", "-"],
    ]  # fmt: skip
    assert "the network" in told[1] and "UDP" in told[2] and "nothing" in told[3]
    assert told[4].endswith("unknown: the node has not reported")


def test_one_fix_is_one_row_whichever_machine_says_it_and_one_wall_too() -> None:
    names = [f"n{k}" for k in range(1, 4)]
    facts = [{**fact(name, "missing"), "says": f"{name} says: {FIX}"} for name in names]
    isolations: Any = [{"node": name, "isolation": "sandbox", "holds": "all"} for name in names]
    told = runtime_rows([runtimes("agent", *facts)], isolations)
    assert told.count(FIX) == 1 and "agent: missing on n1, n2, n3" in told and "n1, n2, n3  sandbox" in told


def test_a_fix_that_names_its_machine_is_one_for_all_of_them() -> None:
    facts = [fact(name, "not_logged_in", "1", f"pancode node secret {name} KEY") for name in ("n1", "n2")]
    told = runtime_rows([runtimes("agent", *facts)])
    assert told.count("node secret") == 1 and "  pancode node secret NODE KEY\n" in told
    assert "node secret n1 KEY" in runtime_rows([runtimes("agent", *facts[:1])])


def test_every_isolation_has_its_words() -> None:
    assert set(HOLDS) == set(Isolation)


def test_without_a_machine_it_says_so() -> None:
    assert runtime_rows([runtimes("agent")]) == "no node has reported yet\n"


def row(runtime: str, version: str | None, tried: int, happened: list[str]) -> EvidenceShape:
    """Of the matrix of evidence."""
    return {
        "runtime": runtime,
        "version": version,
        "rule": "auto-edit",
        "with_sandbox": "sandbox",
        "without": "told only",
        "tried": tried,
        "happened_with": [],
        "happened_without": happened,
    }


def test_who_holds_what_and_how_much_came_through() -> None:
    rows = [row("agent", "1.2.3", 12, ["tool-git", "tool-home"]), row("own", None, 0, [])]
    assert evidence_of({"matrix": rows, "measured": "2026-01-02"}).splitlines() == [
        "RUNTIME  VERSION  RULE       WITH A SANDBOX  HAPPENED  WITHOUT    HAPPENED",
        "agent    1.2.3    auto-edit  sandbox         0 of 12   told only  2 of 12",
        "own      -        auto-edit  sandbox         -         told only  -",
        "",
        "measured 2026-01-02; see docs/reference/safety-matrix.md",
    ]


def test_the_acts_of_one_runtime_leave_out_what_was_not_tried() -> None:
    acts = [
        {"act": "tool-git", "words": "write a hook", "read-only": "sandbox", "auto-edit": "nobody"},
        {"act": "tool-home", "words": "look", "read-only": "", "auto-edit": ""},
    ]
    told = evidence_of({"matrix": [row("agent", "1.2.3", 1, [])], "measured": "2026-01-02", "acts": acts})
    assert "ACT           READ-ONLY  AUTO-EDIT\nwrite a hook  sandbox    nobody\n" in told
    assert "look" not in told


def test_modes_are_shown_with_what_they_dispatch_and_the_tools_that_they_add() -> None:
    def mode(name: str, *tools: str, writes: bool = False, dispatches: bool = True) -> ModeShape:
        facts: ModeShape = {
            "name": name,
            "dispatches": dispatches,
            "writes": writes,
            "default": writes,
            "tools": [],
        }
        return {**facts, "tools": ["runs", *tools]}

    rows = [
        mode("plan", dispatches=False),
        mode("build", "dispatch", "land", writes=True),
        mode("review", "dispatch"),
    ]
    assert [line.split() for line in _format_tools(rows).splitlines()] == [
        ["MODE", "DISPATCHES", "MORE", "TOOLS", "OF", "PANOS"],
        ["plan", "only", "scouts", "-", "none"],
        ["build", "all", "agents", "default", "dispatch,", "land"],
        ["review", "read-only", "agents", "-", "dispatch"],
        ["in", "all", "modes:", "runs"],
    ]
