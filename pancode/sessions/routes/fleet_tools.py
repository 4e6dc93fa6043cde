"""Executes the fleet tool calls of orchestrator runs, by the tools' API routes, with that run's rights."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from starlette.responses import Response

from node_agent.wire.fleet import MOST_FLEET_ANSWER, FleetTool
from pancode.fleet.model_tests import find_endpoints, run_test
from pancode.interfaces.client.client import Client, ServerEvent
from pancode.interfaces.http.access.run_rights import refuse_act
from pancode.interfaces.http.bodies import parse_body
from pancode.interfaces.http.context import ApiContext
from pancode.interfaces.http.problems import AsciiJson, response_of
from pancode.interfaces.http.routing import ApiCall, Verb, answer_once, check_texts, mark_of
from pancode.interfaces.mcp.protocol import CallProgress, CancelledCall, ParamsError
from pancode.interfaces.mcp.tool import McpTool
from pancode.interfaces.mcp.tools import BY_NAME, call_tool
from pancode.kernel.errors import UnavailableError, UsageError
from pancode.kernel.records import Action, ActionKind, Run, RunState
from pancode.runs.answers import CONTINUE
from pancode.runs.facts import Caller, FleetLead
from pancode.runs.feed_thread import JOIN_S, FeedThread
from pancode.runs.life.conversation import payer_of
from pancode.runs.life.inbox import BEFORE_START, ItemKind, kind_of, open_item
from pancode.runs.unit_of_work import unit_of_work
from pancode.runs.views import get_run
from pancode.sessions.fleet_calls import FleetAnswered
from pancode.sessions.pending_updates import mark_seen

log = logging.getLogger("pancode.fleet_calls")
AGAIN_S = 5.0
"""Seconds until a call that is currently impossible is retried."""
MOST_AT_ONCE, MOST_OF_ONE = 32, 8
"""The most concurrent calls: in total, and per interactive run, so that one run cannot block all others."""
ANSWER = "POST /v1/runs/{run}/answer"
TELL = "POST /v1/runs/{run}/tell"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""The name of a workflow that a run requests; it is never used as a path."""
DISPATCH = "dispatch"
SELDOM = ("node", "gpus", "gpu_memory", "runtime", "workspace", "ask", "verify")
"""Arguments that a run is offered with `dispatch`, but with no other tool."""
UNOFFERED = ("concurrency", "limit", "seconds", "reason", "stream", "again")
"""Arguments that a run may use, although no tool offers them: their default is nearly always right."""
UNSAID = ("minimum", "maximum", "minItems", "maxItems")
"""Limits that the schema omits; the error for exceeding one states it."""
FORCED = ("cwd", "project")
"""Arguments that a run cannot choose, since it works on its own project."""
HERE: dict[str, dict[str, Any]] = {
    "workspace": {"enum": ["git", "none"], "description": "none: an empty directory"}
}
"""Arguments with fewer options for a run than for a user, who may, for example, name a workspace."""
NOWHERE = "/"
"""The folder of a run without a project, used instead of the coordinator's own folder."""
CUT = "\n[truncated: {} characters in total]"


def list_tools() -> dict[str, FleetTool]:
    """Return every tool in the shortest form, as a job offers it: all tools must fit in a context window of
    possibly only 8,000 tokens. Each argument is described only once."""
    seen: set[str] = set()
    return {name: _make_fleet_tool(tool, seen) for name, tool in BY_NAME.items()}


def _make_fleet_tool(tool: McpTool, seen: set[str]) -> FleetTool:
    hidden = (*FORCED, *UNOFFERED, *(() if tool.name == DISPATCH else SELDOM))
    fields = {name: {**field, **HERE.get(name, {})} for name, field in tool.fields.items()}
    schema: dict[str, Any] = {"type": "object", "properties": _shorten_fields(fields, hidden, seen)}
    schema |= {"required": list(tool.required_names)} if tool.required_names else {}
    text = json.dumps(schema, separators=(",", ":"))
    return FleetTool(name=tool.name, description=tool.description, parameters=text)


def _shorten_fields(fields: Mapping[str, Any], hidden: Sequence[str], seen: set[str]) -> dict[str, Any]:
    """Return the fields, including those of a list's items, without descriptions that are in `seen`."""
    made = {}
    for name, field in fields.items():
        if name in hidden:
            continue
        kept = {key: one for key, one in field.items() if key not in UNSAID}
        if kept.get("description") in seen:
            del kept["description"]
        seen.add(field.get("description", ""))
        if inner := field.get("items", {}).get("properties"):
            items = {"type": "object", "properties": _shorten_fields(inner, (), seen)}
            kept["items"] = {**items, "required": field["items"]["required"]}
        made[name] = kept
    return made


ApiPath: TypeAlias = tuple[Verb, re.Pattern[str]]
"""A route, and the pattern of its path."""


def compile_paths(verbs: Sequence[Verb]) -> list[ApiPath]:
    """Return the routes with the patterns of their paths."""
    return [(verb, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", verb.path))) for verb in verbs]


class FleetCalls(FeedThread):
    """Executes the fleet tool calls of runs, each in its own thread, so that a long call delays no other. A
    call is an action in the ledger and outlives the process; its idempotency key prevents a second start."""

    def __init__(self, context: ApiContext, verbs: Sequence[Verb]) -> None:
        """`verbs`: all routes of the API."""
        super().__init__(context.core, "fleet calls", AGAIN_S, kinds=frozenset(), actions=(ActionKind.FLEET,))
        self._context, self._routes = context, compile_paths(verbs)
        self._lock = threading.Lock()
        self._at_work: dict[str, tuple[str, CallProgress, threading.Thread]] = {}
        context.core.fleet_tools = list_tools()

    def stop(self) -> None:
        self._end()
        with self._lock:
            under_way = list(self._at_work.values())
        for _, progress, _ in under_way:
            progress.cancelled.set()
        for _, _, thread in under_way:
            thread.join(JOIN_S)
        self._join()

    def run_pass(self) -> float | None:
        if self._context.coordinator.held is not None:
            return AGAIN_S
        with self._core.ports.ledger.transaction() as tx:
            found = [action for action in tx.find(Action) if action.kind is ActionKind.FLEET]
        for action in found:
            self._begin(action)
        return AGAIN_S if found else None

    def _begin(self, action: Action) -> None:
        with self._lock:
            if action.id in self._at_work or self._is_full(action.run) or self._stopping.is_set():
                return
            progress = CallProgress(lambda told: None)
            thread = threading.Thread(
                target=self._do, args=(action, progress), name="fleet call", daemon=True
            )
            self._at_work[action.id] = action.run, progress, thread
            thread.start()

    def _is_full(self, run: str) -> bool:
        of_one = sum(one == run for one, _, _ in self._at_work.values())
        return len(self._at_work) >= MOST_AT_ONCE or of_one >= MOST_OF_ONE

    def _do(self, action: Action, progress: CallProgress) -> None:
        """Execute the call and answer it, unless it will be retried; the run's program awaits the answer."""
        try:
            ok, text = self._answer(action, progress)
            with unit_of_work(self._core) as work:
                run = work.tx.get(Run, action.run)
                assert run is not None  # runs are never deleted
                mark_seen(work.tx, payer_of(run), ended_in(str(action.detail["tool"]), text) if ok else ())
                work.signal(run, FleetAnswered(action.id, ok, text))
            self._context.poke()
        except CancelledCall:
            log.info("a call of %s waits for the next coordinator", action.run)
        except UnavailableError as error:
            log.warning("a call of %s will be retried: %s: %s", action.run, error, error.why)
        except Exception:
            log.exception("a call of %s could not be answered", action.run)
        finally:
            with self._lock:
                self._at_work.pop(action.id, None)
            self._woken.set()  # another call may be waiting for this slot

    def _answer(self, action: Action, progress: CallProgress) -> tuple[bool, str]:
        with self._core.ports.ledger.transaction() as tx:
            run = tx.get(Run, action.run)
        if run is None or run.state is not RunState.RUNNING or run.stop_asked is not None:
            return False, "the run has ended, or is about to end"
        try:
            return carried_out(self._context, self._routes, run, action.detail, progress)
        except (CancelledCall, UnavailableError):
            raise
        except Exception as error:
            log.exception("a call of %s failed", run.id)
            return False, f"internal error in PanCode: {type(error).__name__}"


def carried_out(
    context: ApiContext,
    routes: Sequence[ApiPath],
    run: Run,
    arguments: Mapping[str, object],
    progress: CallProgress,
) -> tuple[bool, str]:
    """Return (success, text for the model) of a fleet tool call. UnavailableError, CancelledCall: retry."""
    name = str(arguments["tool"])
    identity = f"{run.id}.{run.attempt}.{arguments['fence']}"
    client = RunClient(context, routes, run, f"fleet:{identity}:{arguments['number']}")
    try:
        given = _complete_arguments(BY_NAME[name], run, str(arguments["arguments"]))
        answer = call_tool(lambda begins: client, {}, name, given, run.agent, progress)
    except ParamsError as wrong:
        return False, str(wrong)
    text = str(answer["content"][0]["text"])
    if len(text) > MOST_FLEET_ANSWER:
        text = text[: MOST_FLEET_ANSWER - 100] + CUT.format(len(text))
    return not answer["isError"], text


SHOWS_ENDS = ("wait", "run_show", "explore")
"""Tools that show an agent how a run ended."""


def ended_in(tool: str, text: str) -> set[str]:
    """Return the ids of the runs that have ended, according to this answer of a tool."""
    try:
        found = json.loads(text) if tool in SHOWS_ENDS else {}
    except ValueError:  # the answer is truncated, possibly before that part
        return set()
    rows = [found, *found.get("scouts", ())]
    over = {RunState.ENDED.value, "answered", "failed"}
    return {str(row["run"]) for row in rows if row.get("run") and row.get("state") in over}


def _complete_arguments(tool: McpTool, run: Run, arguments: str) -> dict[str, Any]:
    """Return the call's arguments with those added that the run cannot choose. Raises ParamsError."""
    try:
        given = json.loads(arguments)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise ParamsError("the arguments must be a JSON object")
    if taken := [name for name in FORCED if name in given]:
        raise ParamsError(f"{tool.name} does not accept the argument {taken[0]} here")
    if "cwd" in tool.fields:
        given["cwd"] = run.project or NOWHERE
    if not NAME.fullmatch(str(given.get("workflow", "w"))):
        raise ParamsError("workflow must be a name, not a path")
    if tool.name == "explore" and run.project is None:
        raise ParamsError("explore requires a repository, but this session has none")
    if "workspace" in tool.fields and run.project is None:
        given["workspace"] = "none"
    return given


class RunClient(Client):
    """The API's client inside the coordinator, limited to one run's rights and to the tools it is offered.
    `key`: the idempotency key of the one request that changes something."""

    def __init__(self, context: ApiContext, routes: Sequence[ApiPath], run: Run, key: str) -> None:
        super().__init__(Path(str(context.facts["home"])), starts=False)
        self._context, self._routes, self._run, self._key = context, routes, run, key
        self._allowed = {BY_NAME[name].route for name in FleetLead.of(run).fleet if name in BY_NAME}

    def _send(self, method: str, path: str, body: Any, *_: Any) -> tuple[Any, Any]:
        return _Closed(), _Answered(self._make_response(method, path, body))

    def events(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        query: Mapping[str, object] | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Iterator[ServerEvent]:
        """Test the model of a call that needs a test first, and yield the result. No other stream exists
        here. Raises InsideRunError, NotFoundError, and UnavailableError when the coordinator ends."""
        if (method, path) != ("POST", "/v1/models/test") or body is None:
            refuse_act(self._context.core, self._run, f"{method} {path}")
        core, ends = self._context.core, self._context.closing.wait
        places = find_endpoints(core, body["model"], body["node"])
        tests = [run_test(core, one, False, lambda line: None, self._context.poke, ends) for one in places]
        yield ServerEvent("result", {"tests": tests})

    def _make_response(self, method: str, path: str, body: Any) -> Response:
        try:
            verb, names = self._find_route(method, urlsplit(path).path)
            query = dict(parse_qsl(urlsplit(path).query))
            check_texts([names, query, body])
            call = ApiCall(names, query, parse_body(verb.body, body or {}), inside=self._run, key=self._key)
            answer = self._carry_out(verb, call)
            return answer if isinstance(answer, Response) else AsciiJson(answer, verb.status)
        except UnavailableError:
            raise
        except Exception as error:
            return response_of(error)

    def _find_route(self, method: str, path: str) -> tuple[Verb, dict[str, str]]:
        """Return the route for this method and path, and the parameters in the path."""
        for verb, pattern in self._routes:
            found = pattern.fullmatch(path) if verb.method == method else None
            if found is not None:
                return verb, {name: unquote(value) for name, value in found.groupdict().items()}
        raise UsageError(f"{method} {path} not found", fix="pancode --help", code="unknown_path")

    def _carry_out(self, verb: Verb, call: ApiCall) -> Any:
        if verb.method != "GET" and verb.name not in self._allowed:
            refuse_act(self._context.core, self._run, verb.name)
        if verb.method == "GET":
            return verb.answered(self._context, call)
        if "run" in call.path:
            other = get_run(self._context.core, call.path["run"])
            self._must_be_its_own(verb, other)
            call = replace(call, path={**call.path, "run": other.id})  # `last` may refer to another run later
        # The handler of a route with another subject checks whose it is, and a landing is only proposed.
        return self._act_once(verb, call)

    def _act_once(self, verb: Verb, call: ApiCall) -> Any:
        """Execute the request once per key, on every route: a call may be repeated after a node agent or a
        coordinator was killed."""
        if verb.takes_key:
            return verb.answered(self._context, call)
        route = f"{verb.method} {verb.path.format(**call.path)}"
        mark = mark_of(call.who, call.key, route, call.body)
        return answer_once(self._context, mark, verb.status, lambda: verb.answered(self._context, call))

    def _must_be_its_own(self, verb: Verb, other: Run) -> None:
        """Raise InsideRunError for a run of another session, or a wait that only a user may end."""
        if Caller.of(other).charged_to != payer_of(self._run):
            refuse_act(self._context.core, self._run, f"{verb.name} for {other.id}, which it did not start")
        with self._context.core.ports.ledger.transaction() as tx:
            item = open_item(tuple(tx.find(Action, {"run": other.id})))
        waits = None if item is None else kind_of(other)
        if verb.name == ANSWER and kind_of(other) is not ItemKind.QUESTION:
            refuse_act(self._context.core, self._run, f"approving something for {other.id}")
        if verb.name == CONTINUE and waits not in (None, ItemKind.LANDING):
            refuse_act(self._context.core, self._run, f"continuing {other.id}, which is waiting for a user")
        if verb.name == TELL and waits in BEFORE_START:
            refuse_act(self._context.core, self._run, f"changing {other.id}, which is waiting for approval")


class _Closed:
    """A connection with nothing to close."""

    def close(self) -> None:
        """Do nothing, as nothing is open."""


class _Answered:
    """An answer of the API in the form of an HTTP response that the client can read."""

    def __init__(self, response: Response) -> None:
        self.status, self.headers = response.status_code, response.headers
        self._body = bytes(response.body)

    def read(self) -> bytes:
        return self._body
