"""`python -m tests.bench.orchestrator URL MODEL`: how a model, as Panos, splits twelve requests into runs.

The model gets the prompt and the tools of a chat with Panos, over the files of a small shop. Nothing is
carried out: each call is recorded, and its result says that the work is done. Prints a table. Exit code 1 if
a request was not split as expected, or if its result is unknown.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.chat.client import Model, Server
from node_agent.chat.dialect import Question, Trouble
from node_agent.chat.messages import Answered, Asked, Call, Result, ToolForm, ToolResults, Turn
from node_agent.native.fleet import fleet_forms
from node_agent.native.tools.offer import list_forms
from node_agent.wire.clock import SystemIds
from node_agent.wire.fleet import FleetTerms
from node_agent.wire.policy import MODE_WRITES, Mode, Safety
from pancode.agents.agents import FLEET_TOOLS, ORCHESTRATOR, choose, find_agent
from pancode.agents.prompts import Situation, compile_prompt
from pancode.config.agents.definitions import load_agents
from pancode.config.schema import Settings
from pancode.interfaces.cli.terminal import format_rows
from pancode.interfaces.client.client import Client
from pancode.interfaces.mcp.protocol import CallProgress, ParamsError
from pancode.interfaces.mcp.tools import call_tool
from pancode.kernel.errors import UsageError
from pancode.sessions.routes.fleet_tools import FORCED, list_tools

READS, WRITES, BESIDE, THEN, NOTHING = "reads", "writes", " + ", ", then ", "nothing"
PASSED, FAILED, UNKNOWN = "passed", "failed", "unknown"
MOST_ANSWERS, MOST_TOKENS, UNTIL_S = 20, 8_000, 600.0
"""Of one request: how many answers of the model, the tokens of each, and the seconds of each."""
DONE = "this is a benchmark: what you ask for is recorded and counts as done, and nothing is carried out"
REQUESTS: Mapping[str, tuple[str, ...]] = {
    "side-by-side": (
        "Review the authentication module and build rate limiting for the search endpoint.",
        "reads + writes",
    ),
    "chain": (
        "First plan how the results of a search can be cached, then build it, then have it reviewed.",
        "reads, then writes, then reads",
    ),
    "three-reviewers": (
        "Have three reviewers look at the authentication module.",
        "reads + reads + reads",
        "reads + reads + reads, then reads",
    ),
    "question": ("Which function answers the search endpoint?", NOTHING),
    "one-change": (
        "Give every function of the search module a docstring, and say in it what is returned.",
        "writes",
    ),
    "two-changes": (
        "Let the search ignore upper and lower case. And sessions shall end after 30 minutes.",
        "writes + writes",
    ),
    "after-each-other": (
        "Build paging for the results of a search. Once it is there, describe it in the README.",
        "writes, then writes",
    ),
    "scout": (
        "Find out whether a module of this project reaches into another one's private names, and tell me.",
        "reads",
    ),
    "same-thrice": (
        "Give each of the three modules a test file of its own. They have nothing to do with each other.",
        "writes + writes + writes",
    ),
    "build-and-judge": (
        "Let sessions be renewed. Somebody who has not written it shall look at the change afterwards.",
        "writes, then reads",
    ),
    "unclear": ("Make it better.", NOTHING),
    "thanks": ("Thank you, that is all for today.", NOTHING),
}
"""By name: the request, then each shape of work that is a good answer. Names of agents are not compared."""
FILES = {
    "README.md": "# shop\n\nA small web shop. `python3 -m unittest` runs its tests.\n",
    "shop/__init__.py": "",
    "shop/auth.py": '"""The authentication module: passwords and sessions."""\n\n'
    "import hashlib\nimport secrets\n\nUSERS = {}\nSESSIONS = {}\n\n\ndef register(name, password):\n"
    "    USERS[name] = hashlib.sha1(password.encode()).hexdigest()\n\n\ndef login(name, password):\n"
    "    if USERS.get(name) != hashlib.sha1(password.encode()).hexdigest():\n        return None\n"
    "    session = secrets.token_hex(16)\n    SESSIONS[session] = name\n    return session\n\n\n"
    "def user_of(session):\n    return SESSIONS.get(session)\n",
    "shop/search.py": '"""The search module."""\n\nGOODS = ["Red shoes", "Blue shoes", "Green hat"]\n\n\n'
    "def matches(words, good):\n    return all(word in good for word in words.split())\n\n\n"
    "def search(words):\n    return [good for good in GOODS if matches(words, good)]\n",
    "shop/web.py": '"""The endpoints."""\n\nfrom shop import auth, search\n\n\n'
    "def search_endpoint(request):\n"
    '    user = auth.user_of(request["session"])\n    if user is None:\n        return 401, []\n'
    '    return 200, search.search(request["words"])\n\n\nENDPOINTS = {"/search": search_endpoint}\n',
    "tests/test_search.py": "import unittest\n\nfrom shop.search import search\n\n\n"
    "class Searches(unittest.TestCase):\n    def test_a_word_is_found(self):\n"
    '        self.assertEqual(search("hat"), ["Green hat"])\n',
}
LOOKS = ("read", "grep", "find", "ls")
AGENTS = load_agents(Path("/nonexistent"), Settings(), {}).agents


@dataclass(frozen=True, slots=True)
class Step:
    """A run that the model asks for. Runs of one `stage` work side by side, the next stage after them."""

    agent: str
    reads: bool
    stage: int


def shape_of(steps: Sequence[Step], *, names: bool = False) -> str:
    """Return `reads + writes` side by side, `reads, then writes` after each other, or `nothing`.

    `names`: the agents instead, for users.
    """
    stages: dict[int, list[str]] = {}
    for one in steps:
        stages.setdefault(one.stage, []).append(one.agent if names else READS if one.reads else WRITES)
    return THEN.join(BESIDE.join(sorted(stages[stage])) for stage in sorted(stages)) or NOTHING


class Recorder(Client):
    """Stands in for the coordinator's API: records the runs that the tools ask for."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"), starts=False)
        self.steps: list[Step] = []
        self._first = 0
        """The stage of the next run: runs that are asked for before a look at one are side by side."""

    def get(self, path: str, **query: object) -> Any:
        kind, _, name = path.removeprefix("/v1/").partition("/")
        if name.startswith(("r-", "w-")):
            raise UsageError(f"there is no {name}", why="this benchmark has no run of that name")
        if name and kind in ("runs", "workflows", "explore"):
            self._first = max((one.stage for one in self.steps), default=-1) + 1
            ended = {"state": "ended", "outcome": "done", "stage": "ended", "reason": DONE}
            return {"run": name.split("/")[0], "workflow": name.split("/")[0], **ended}
        shown = [
            {"name": a.name, "description": a.description, "read_only": a.read_only} for a in AGENTS.values()
        ]
        return {kind: shown if kind == "agents" else [], "records": [], "models": [], "nodes": []}

    def post(self, path: str, body: dict[str, Any] | None = None, wait_s: float = 0, key: str = "") -> Any:
        asked = body or {}
        match path:
            case "/v1/runs":
                self.steps.append(self._step(asked, 0))
            case "/v1/workflows":
                self._plan(asked["steps"])
            case "/v1/explore":
                told = f"not sent: {DONE}; read the files yourself"
                return {"scouts": [{"question": one, "state": told} for one in asked["questions"]]}
        name = f"recorded-{len(self.steps)}"
        return {"run": name, "workflow": name, "state": "pending", "reason": DONE}

    def post_work(self, path: str, body: dict[str, Any], *_: Any, **__: Any) -> Any:
        return self.post(path, body)

    def _send(self, *_: Any) -> Any:
        """Refuse every other request: nothing was made that it could show."""
        raise UsageError("there is nothing that can be shown", why=DONE)

    def _plan(self, steps: Sequence[Mapping[str, Any]]) -> None:
        levels: dict[str, int] = {}
        for one in steps:
            levels[one["name"]] = max((levels.get(need, -1) + 1 for need in one.get("needs", ())), default=0)
        self.steps += [self._step(one["dispatch"], levels[one["name"]]) for one in steps]

    def _step(self, asked: Mapping[str, Any], level: int) -> Step:
        """Return the run of the named agent, or of the one that a dispatch chooses. PancodeError."""
        mode = Mode(asked.get("mode") or Mode.BUILD)
        named = asked.get("agent")
        agent = find_agent(AGENTS, named) if named else choose(AGENTS, asked["task"], mode).agent
        if agent.leads:
            raise UsageError(f"{agent.name} is talked with, and is given no task", code="leads")
        return Step(agent.name, agent.read_only or mode not in MODE_WRITES, self._first + level)


def looked(name: str, given: Mapping[str, Any]) -> str:
    """Return the result of a tool that reads the shop's files."""
    path = str(given.get("path", "")).removeprefix("./").rstrip("/.")
    if name == "read":
        return FILES.get(path, f"there is no file {path}; there are {', '.join(FILES)}")
    if name == "grep":
        lines = [(file, line) for file, text in FILES.items() for line in text.splitlines()]
        found = re.compile(str(given.get("pattern", "")))
        return "\n".join(f"{file}: {line}" for file, line in lines if found.search(line)) or "no line fits"
    return "\n".join(FILES)


def done(asked: Call, recorder: Recorder) -> Result:
    """Return the result of a call; a wrong call is told as its result."""
    given = asked.fields
    if given is None or set(given) & set(FORCED):
        return Result(asked.id, asked.name, "these are not arguments of this tool")
    try:
        if asked.name in LOOKS:
            return Result(asked.id, asked.name, looked(asked.name, given))
        answer = call_tool(
            lambda begins: recorder, {}, asked.name, given, ORCHESTRATOR, CallProgress(lambda told: None)
        )
        return Result(asked.id, asked.name, str(answer["content"][0]["text"]))
    except (ParamsError, re.error) as wrong:
        return Result(asked.id, asked.name, str(wrong))
    except (KeyError, TypeError, ValueError):  # a look at something that this stand-in does not have
        return Result(asked.id, asked.name, f"there is nothing to show: {DONE}")


def split(model: Model, words: str, tools: Sequence[ToolForm]) -> tuple[list[Step], str, int]:
    """Return what the model asks for, why it was cut off (empty: it was not), and the tokens of it."""
    prompt = compile_prompt(AGENTS[ORCHESTRATOR], Situation(Mode.BUILD, Safety.AUTO_EDIT, "native")).text
    recorder, tokens = Recorder(), 0
    turns: list[Turn] = [Asked(words)]
    for _ in range(MOST_ANSWERS):
        try:
            answer = model.ask(Question(prompt, turns, tools, MOST_TOKENS, UNTIL_S))
        except Trouble as trouble:
            return recorder.steps, str(trouble), tokens
        tokens += answer.tokens.input + answer.tokens.output
        if answer.finish == "length":
            return recorder.steps, f"its answer is longer than {MOST_TOKENS} tokens", tokens
        if not answer.calls:
            return recorder.steps, "", tokens
        turns.append(Answered(answer.text, answer.calls, answer.extra))
        turns.append(ToolResults(tuple(done(one, recorder) for one in answer.calls)))
    return recorder.steps, f"it did not end within {MOST_ANSWERS} answers", tokens


def main() -> int:
    """Ask each request, and print the table; 0: all passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.orchestrator")
    parser.add_argument("url", help="an OpenAI-compatible endpoint, with its /v1")
    parser.add_argument("model", help="the model's name there")
    parser.add_argument(
        "--key-env", default="OPENAI_API_KEY", help="the variable that contains the key (%(default)s)"
    )
    parser.add_argument(
        "--only", action="append", choices=REQUESTS, metavar="REQUEST", help="only this one; may be repeated"
    )
    args = parser.parse_args()
    url = args.url.rstrip("/")
    model = Model(args.model, Server(url, os.environ.get(args.key_env, "")), lambda piece: None, SystemIds())
    model.newest = url.startswith("https://api.openai.com/")
    every = list_tools()
    tools = [
        *list_forms(LOOKS),
        *fleet_forms(FleetTerms(tools=tuple(every[one] for one in FLEET_TOOLS[Mode.BUILD]))),
    ]
    rows = []
    for name in args.only or REQUESTS:
        words, *expected = REQUESTS[name]
        steps, cut, tokens = split(model, words, tools)
        result = UNKNOWN if cut else PASSED if shape_of(steps) in expected else FAILED
        told = {"name": name, "result": result, "expected": expected[0], "tokens": tokens}
        rows.append({**told, "asked": cut or shape_of(steps, names=True)})
    columns = {
        "REQUEST": "name",
        "RESULT": "result",
        "EXPECTED": "expected",
        "ASKED FOR": "asked",
        "TOKENS": "tokens",
    }
    passed = sum(row["result"] == PASSED for row in rows)
    print(f"{args.model}: {passed} of {len(rows)} as expected\n{format_rows(rows, columns)}", end="")
    return 0 if passed == len(rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
