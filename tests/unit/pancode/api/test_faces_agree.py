"""No act exists in one face only: each has a command, and for agents a tool, or a reason why not."""

from __future__ import annotations

from pancode.api.app import VERBS
from pancode.api.document.words import ROUTES
from pancode.domain.access.scopes import AccessScope, Risk
from pancode.mcp.tools import TOOLS

ACTS = {verb.name: verb for verb in VERBS if verb.method != "GET"}
WITHOUT_COMMAND = {
    "POST /v1/runs/{run}/land/cancel": "Ctrl-C of the command that waits for the landing asks it",
    "POST /v1/nodes/probe": "the first half of `node add`",
    "POST /v1/nodes/{node}/cleaned": "the last half of a bring-up by another tool, as Ansible's",
    "POST /v1/hooks/{schedule}": "a program of others asks it, with a signature",
    "POST /v1/web/codes": "the command that opens the console asks it",
    "POST /v1/web/session": "a browser trades its code",
    "POST /v1/web/session/end": "a browser leaves; a person revokes the token",
}
BY_TOOL = {
    "dispatch": "POST /v1/runs",
    "stop": "POST /v1/runs/{run}/stop",
    "land": "POST /v1/runs/{run}/land",
    "answer": "POST /v1/runs/{run}/answer",
    "tell": "POST /v1/runs/{run}/tell",
    "continue_run": "POST /v1/runs/{run}/continue",
    "dispatch_batch": "POST /v1/workflows",
    "run_workflow": "POST /v1/workflows",
    "workflow_stop": "POST /v1/workflows/{workflow}/stop",
}
FOR_AGENTS = (AccessScope.DISPATCH, AccessScope.ANSWER)
WITHOUT_TOOL = {
    "POST /v1/runs/{run}/retry": "an agent dispatches anew, with what it has learned",
    "POST /v1/runs/{run}/approve": "a yes to a change, a start or an exception is a person's",
    "POST /v1/runs/{run}/deny": "as approve",
    "POST /v1/runs/{run}/verify": "not there yet",
    "POST /v1/workflows/{workflow}/resume": "not there yet",
    "POST /v1/workflows/{workflow}/retry": "not there yet",
    "POST /v1/schedules": "work that begins by itself for ever is a person's to ask for",
    "POST /v1/schedules/{schedule}/run": "as POST /v1/schedules",
    "POST /v1/hooks/{schedule}": "a program of others asks it, with a signature",
}


def test_each_act_has_a_command_or_a_reason() -> None:
    assert {name for name in ACTS if not ROUTES[name].command} == set(WITHOUT_COMMAND)


def test_each_act_that_agents_may_ask_for_has_a_tool_or_a_reason() -> None:
    wanted = {name for name, verb in ACTS.items() if verb.needs in FOR_AGENTS}
    assert wanted - set(BY_TOOL.values()) == set(WITHOUT_TOOL)


def test_the_hints_of_a_tool_are_the_risk_of_its_route() -> None:
    tools = {tool.name: tool for tool in TOOLS}
    assert {name for name, tool in tools.items() if not tool.looks} == set(BY_TOOL)
    for name, route in BY_TOOL.items():
        risk = ACTS[route].risk
        assert (tools[name].looks, tools[name].destroys) == (risk is Risk.LOOKS, risk is Risk.FINAL), name
        assert tools[name].begins == (risk is Risk.SPENDS), name
