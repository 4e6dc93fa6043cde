"""No act exists in one face only: command, console, top and, for agents, a tool; or a reason why not."""

from __future__ import annotations

from pancode.app.http_routes import VERBS
from pancode.interfaces.mcp.tools import TOOLS
from pancode.kernel.visitors import AccessScope, Risk
from tests.unit.pancode.interfaces.http.faces import NOT_IN_TOP, WITHOUT_PAGE, named, of_top, of_web

ACTS = {verb.name: verb for verb in VERBS if verb.method != "GET"}
WITHOUT_COMMAND = {
    "POST /v1/runs/{run}/land/cancel": "Ctrl-C of the command that waits for the landing asks it",
    "POST /v1/nodes/probe": "the first half of `node add`",
    "POST /v1/nodes/{node}/cleaned": "the last half of a bring-up by another tool, as Ansible's",
    "POST /v1/config/propose": "a model asks a user; who decides it uses config set",
    "POST /v1/hooks/{schedule}": "a program of others asks it, with a signature",
    "POST /v1/hooks/trackers/{project}": "a tracker asks it, with a signature",
    "POST /v1/web/codes": "the command that opens the console asks it",
    "POST /v1/web/session": "a browser trades its code",
    "POST /v1/web/session/end": "a browser leaves; a user revokes the token",
}
BY_TOOL = {tool.name: tool.route for tool in TOOLS if tool.right.risk is not Risk.LOOKS}
FOR_AGENTS = (AccessScope.DISPATCH, AccessScope.ANSWER)
WITHOUT_TOOL = {
    "POST /v1/comments/{comment}": "who wrote a comment changes it",
    "POST /v1/runs/{run}/send-back": "a person sends a change back",
    "POST /v1/work": "a user says which issue is worked on",
    "POST /v1/plans": "a user plans",
    "POST /v1/plans/{workspace}/keep": "a user keeps a plan",
    "POST /v1/workspaces/{workspace}/open": "a user enters it",
    "POST /v1/workspaces/{workspace}/leave": "a user leaves it",
    "POST /v1/recover": "an agent retries the runs that it knows",
    "POST /v1/runs/{run}/approve": "a yes to a change, a start or an exception is a user's",
    "POST /v1/runs/{run}/deny": "as approve",
    "POST /v1/sessions": "an agent dispatches, and continues with what came back",
    "POST /v1/sessions/{run}/turn": "a talk is interrupted by its user",
    "POST /v1/sessions/{run}/end": "a talk is ended by its user",
    "POST /v1/sessions/{run}/checkpoints": "a point of a talk is a user's",
    "POST /v1/sessions/{run}/restore": "as the point itself",
    "POST /v1/sessions/{run}/terms": "a user alone changes mode and level",
    "POST /v1/workflows/{workflow}/resume": "an agent retries the runs that it knows",
    "POST /v1/workflows/{workflow}/retry": "as resume",
    "POST /v1/hooks/trackers/{project}": "a tracker asks it, with a signature",
    "POST /v1/runs/{run}/tools/{tool}/try": "a user tries it before a yes",
    "POST /v1/hooks/{schedule}": "a program of others asks it, with a signature",
    "POST /v1/checkouts/{machine}/{name}": "a command on another node brings its own files",
    "POST /v1/checkouts/{machine}/{name}/files": "a command on another node brings its own files",
    "POST /v1/schedules/{schedule}/run": "an agent dispatches what it wants to begin now",
}


def test_each_act_has_a_command_or_a_reason() -> None:
    assert {name for name, verb in ACTS.items() if not verb.command} == set(WITHOUT_COMMAND)


def test_each_act_is_in_the_console_or_has_a_reason() -> None:
    assert set(ACTS) - named(of_web(), ACTS) == set(WITHOUT_PAGE)


def test_each_act_is_in_top_or_has_a_reason() -> None:
    assert set(ACTS) - named(of_top(), ACTS) == set(NOT_IN_TOP)


def test_no_reason_is_that_nobody_has_made_it() -> None:
    for reasons in (WITHOUT_COMMAND, WITHOUT_PAGE, NOT_IN_TOP, WITHOUT_TOOL):
        assert not [name for name, why in reasons.items() if "not there" in why or " yet" in why]


def test_each_act_that_agents_may_ask_for_has_a_tool_or_a_reason() -> None:
    wanted = {name for name, verb in ACTS.items() if verb.needs in FOR_AGENTS}
    assert wanted - set(BY_TOOL.values()) == set(WITHOUT_TOOL)


def test_hints_and_rights_of_each_tool_are_those_of_its_route() -> None:
    verbs = {verb.name: verb for verb in VERBS}
    for tool in TOOLS:
        verb = verbs[tool.route]
        assert (tool.right.scope, tool.right.risk) == (verb.needs, verb.risk), tool.name
        hints = tool.listed()["annotations"]
        assert hints["readOnlyHint"] is (verb.risk is Risk.LOOKS), tool.name
        assert hints["destructiveHint"] is (verb.risk is Risk.FINAL), tool.name
        assert hints["idempotentHint"] is hints["readOnlyHint"] and hints["openWorldHint"] is False
        assert tool.begins == (verb.risk is Risk.SPENDS), tool.name
