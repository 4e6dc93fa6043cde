"""Whatever only looks is looked at once over a fleet that has everything: commands, routes, pages.

A command that crashes, says nothing, or answers with other JSON than its route promises fails here, in text
and as `--json`; so does a new command that stands in no table below.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import click
import jsonschema_rs
import pytest
from starlette.routing import Route, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pancode.app.http_routes import VERBS, build_openapi
from pancode.conversation.lines import LogStory
from pancode.interfaces.cli.main import cli, run
from pancode.interfaces.cli.output import COMMAND_LOG
from pancode.interfaces.client.client import Client
from pancode.interfaces.http.routing import Verb
from pancode.interfaces.tui.page import PageMoment
from pancode.interfaces.tui.pages.summary import draw_summary
from pancode.interfaces.tui.views import SUMMARY, VIEWS
from tests.answer_types import misfits
from tests.architecture.sources import ROOT
from tests.architecture.test_hot_path import HEAVY
from tests.contract.transcripts import output
from tests.integration.faces.populated import Populated
from tests.unit.pancode.interfaces.http.faces import WEB

LOOKS: dict[str, tuple[str, ...]] = {
    "admin breakers": ("",),
    "admin completion": ("bash", "zsh", "fish"),
    "admin gc": ("--dry-run",),
    "admin keys": ("", "coordinator", "gpubox"),
    "admin notify": ("",),
    "admin queue": ("", "--rq info"),
    "admin redis": ("--password-file password",),
    "admin service": ("",),
    "admin tokens": ("",),
    "agents ls": ("",),
    "agents prompt": ("builder", "{scout}"),
    "agents record": ("", "--by node", "--agent builder"),
    "agents runtimes": ("", "claude"),
    "agents show": ("builder", "builder --prompt"),
    "audit": ("", "run:{run}", "--events", "--events -n 500"),
    "budget show": ("", "--all"),
    "budget spent": ("", *(f"--by {by}" for by in ("agent", "model", "node", "repository", "day")), "--csv"),
    "config check": (
        "agents.yaml --kind agents",
        "chain.yaml",
        "--kind rules",
        "--kind skills",
        "--kind settings",
    ),
    "config preset": ("", "local"),
    "config show": ("", "--origin", "budget.ceiling"),
    "diff": ("{run}", "{run} --stat"),
    "doctor": ("", "--all =20"),
    "history find": ("limiter", "", "--told"),
    "history show": ("{scout}",),
    "inbox ls": ("",),
    "inbox review": ("",),
    "inbox show": ("{blocked}",),
    "issue ls": ("", "--project {project}"),
    "issue show": ("{issue}",),
    "lane ls": ("",),
    "lane show": ("{lane}",),
    "logs": ("{run}", "-f {run}", "{claude}", "-f {claude}"),
    "models ls": ("", "--servers", "--servers --node gpubox"),
    "node ls": ("",),
    "node show": ("desk", "gpubox", "attic"),
    "policy check": ("'git status'", "'rm -rf /' =18"),
    "policy show": ("", "modes", "build", "auto-edit", "--matrix", "--matrix claude"),
    "project ls": ("",),
    "project show": ("{project}",),
    "project tools ls": ("",),
    "project tools show": ("{tool_run} {tool}",),
    "receipt export": ("{run}",),
    "receipt ls": ("",),
    "receipt show": ("", "{run}"),
    "receipt verify": ("{run}", "{session}"),
    "runs comments": ("{to_land}", "{landed}"),
    "runs ls": (
        *("", "--all", "--state lost", "--node desk", "--text limiter"),
        *("--waiting", "--waiting --queue pool.node.attic"),
    ),
    "runs show": (
        *("", "{workflow}", "{issue}"),
        *("{run}", "{landed}", "{to_land}", "{running}", "{waiting}", "{blocked}", "{interrupted}", "{lost}"),
        *("{error}", "{verify_failed}", "{timeout}", "{stalled}", "{budget_exceeded}", "{infra}"),
        *("{policy_violation}", "{session}", "{scout}", "{tool_run}", "{child}"),
    ),
    "schedule ls": ("",),
    "schedule show": ("{schedule}",),
    "sessions checkpoint": ("{session}",),
    "sessions export": ("{session} --file {fresh}",),
    "sessions ls": ("",),
    "sessions show": ("{session}", "{session} --context", "{session} --tasks"),
    "skills ls": ("", "--status", "--search deploy --index {repo}"),
    "skills show": ("pancode",),
    "status": (
        *("", "{run}", "desk", "--since last", "--since 7d", "--since last --markdown"),
        *("--health =12", "--health --all =12", "--metrics", "--metrics --brief"),
    ),
    "why": ("{run}", "{lost}", "{waiting}", "{session}"),
    "workflow ls": ("", "--files"),
    "workflow plan": ("plan.md", "--beads beads.jsonl"),
    "workflow show": ("{workflow}",),
    "workspace ls": ("",),
    "workspace show": ("{workspace}",),
}
"""Each command that only looks, with what it is asked; `=N` at the end: it ends with that status, not 0."""

LOOKS_OF_CHANGES: dict[str, tuple[str, ...]] = {
    "admin backup": ("--list",),
    "dispatch": ("true --runtime shell --dry-run",),
    "fleet drill": ("--dry-run",),
    "inbox pulls": ("", "7"),
    "issue work": ("{issue} --runtime claude --dry-run",),
    "land": ("",),
    "mcp install": ("claude --dry-run",),
    "runs recover": ("--all --dry-run",),
    "schedule add": ("later 'true' --cron '0 3 * * *' --runtime shell --dry-run",),
    "workflow batch": ("-t true -t true --runtime shell --workspace none --dry-run",),
    "workflow chain": ("chain.yaml --runtime shell --dry-run",),
    "workflow race": ("true --runtimes shell,scripted --dry-run",),
    "workspace repair": ("{workspace} --dry-run",),
}
"""What a command that changes something only says where it is asked so."""

CHANGES = """
admin backup, admin handover, admin ledger, admin restore, agents new, agents set, answer, approve,
budget set, budget settle, config secret, config set, config undo, config unset, config use, deny,
dispatch, down, fleet demo, fleet down, fleet drain, fleet drill, fleet resume, fleet up, history forget,
inbox drop, inbox pulls, init, issue plan, issue work, land, lane add, lane create, lane rm, lane skip, mcp
install, mcp uninstall, models test, node add, node install, node login, node rm, node secret, node set,
node trust, node uninstall, project add, project copy, project prd, project rm, project tools keep, project
tools rm, project tools try, project webhook, runs comment, runs continue, runs recover, runs retry, runs
send-back, schedule add, schedule pause, schedule resume, schedule rm, schedule run, sessions end, sessions
rest, sessions restore, sessions set, skills add, skills agree, skills rm, skills sync, stop, tell, up,
web, workflow
batch, workflow chain, workflow explore, workflow race, workflow resume, workspace create, workspace
open, workspace repair, workspace rm
"""
"""Each command that changes something: its own tests ask it."""

HOLDS = {
    "admin api-stdio": "a client on another machine talks with it; tests/integration/faces/test_remote.py",
    "admin serve": "the coordinator itself",
    "admin steps": "a tool answers it; tests/e2e/test_ansible.py",
    "chat": "a user talks with it; tests/e2e/test_chat_screen.py",
    "mcp serve": "an agent talks with it; tests/e2e/test_mcp.py",
    "sessions acp": "an editor talks with it; tests/e2e/test_acp.py",
    "sessions attach": "a user talks with it; tests/e2e/test_chat_screen.py",
    "top": "a screen; its pages are below",
}
"""Each command that continues until somebody ends it, and where it is tested."""

NOTHING = re.compile(r"^(no|none|nothing|this session has not dispatched any runs)\b", re.MULTILINE)
"""How a command says that there is nothing; a fact of a longer page stands behind blanks."""
OWN_JSON: dict[str, tuple[str, ...]] = {
    "admin queue": ("queues workers",),
    "admin redis": ("users",),
    "admin service": ("text",),
    "audit": ("at data kind node number run",),
    "config check": (
        *("agents disabled file problems remarks", "file kind problems steps", "files warnings", "skills"),
    ),
    "diff": ("diff run",),
    "fleet drill": ("faults",),
    "inbox ls": ("costs count groups summary",),
    "inbox show": ("answer needs told",),
    "issue ls": ("issues project works",),
    "logs": ("attempt next stream text",),
    "mcp install": ("changed command file lines program",),
    "policy show": ("files modes note rules safety warnings", "modes safety"),
    "sessions export": ("file",),
    "sessions ls": ("sessions terminals",),
    "skills ls": ("skills", "nodes", "commit index skills"),
    "skills show": ("body description digest files findings folder front name origin scripts shadows",),
    "status": (
        "budget fleet inbox now queues runs",
        "by by_agent by_day by_repository cost held landed notes outcomes queued ran running since until "
        "waits",
    ),
    "workflow plan": ("tasks text", "steps text title"),
    "workspace repair": (
        "agent ahead at_node behind branch commit count created_at created_by dirty does files last node "
        "opened outcome problems project runs size used_at workspace",
    ),
}
"""Commands whose JSON is made on this machine, or is a stream of the API: the keys of each object."""
MAY_WRITE = {
    "status": {"POST /v1/brief/looked"},
    "doctor": {"POST /v1/fleet/doctor"},
    "admin gc": {"POST /v1/gc"},
}
"""What a command that looks asks beside GET."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One request, as the API has answered it."""

    verb: Verb
    status: int
    data: Any


@dataclass
class Recorder:
    """The application; it records each request with its answer."""

    app: ASGIApp
    heard: list[Heard] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, body, kind = 0, bytearray(), b""

        async def note(message: Message) -> None:
            nonlocal status, kind
            if message["type"] == "http.response.start":
                status, kind = message["status"], dict(message["headers"]).get(b"content-type", b"")
            body.extend(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                data = json.loads(body) if b"json" in kind else bytes(body)
                self.heard.append(Heard(asked_verb(scope["method"], scope["path"]), status, data))
            await send(message)

        await self.app(scope, receive, note)


PATHS = [(compile_path(verb.path)[0], verb) for verb in VERBS]


def asked_verb(method: str, path: str) -> Verb:
    return next(verb for pattern, verb in PATHS if verb.method == method and pattern.match(path))


class Schemas:
    """The OpenAPI document's schema of each answer."""

    def __init__(self) -> None:
        self.document = build_openapi()
        self.known: dict[str, jsonschema_rs.Validator] = {}

    def problems(self, verb: Verb, data: Any) -> list[str]:
        if verb.name not in self.known:
            said = self.document["paths"][verb.path][verb.method.lower()]["responses"][str(verb.status)]
            shape = said["content"]["application/json"]["schema"]
            whole = {**shape, "components": self.document["components"]}
            self.known[verb.name] = jsonschema_rs.validator_for(whole)
        return [
            f"{verb.name}: {one.instance_path}: {one.message}"
            for one in self.known[verb.name].iter_errors(data)
        ]


SCHEMAS, COUNT = Schemas(), count()


@dataclass
class Said:
    """What a command has said, and what it has asked the API."""

    status: int
    out: str
    err: str
    heard: list[Heard]


class Out(io.TextIOWrapper):
    """Standard output that keeps what is written."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    @property
    def text(self) -> str:
        kept = self.buffer
        assert isinstance(kept, io.BytesIO)
        return kept.getvalue().decode()


@dataclass
class Sweep:
    """The fleet with a command line on it."""

    fleet: Populated
    recorder: Recorder

    def __call__(self, words: list[str]) -> Said:
        out, err, before, log = Out(), Out(), len(self.recorder.heard), self.fleet.home / COMMAND_LOG
        log.unlink(missing_ok=True)
        with chdir(self.fleet.repo.path), redirect_stdout(out), redirect_stderr(err):
            status = run(words)
        assert not log.exists(), log.read_text()
        return Said(status, out.text, err.text, self.recorder.heard[before:])

    def route(self, verb: Verb) -> tuple[str, dict[str, str]]:
        """The path of a route with names that exist, and the query that it needs."""
        name = next((name for start, name in NAMES.items() if verb.path.startswith(start)), "run")
        names = {**self.fleet.names, "run": self.fleet.names[name], "repo": str(self.fleet.repo.path)}
        query = {key: value.format(**names) for key, value in QUERIES.get(verb.path, {}).items()}
        return verb.path.format(**names), query

    def asked(self, command: str, example: str) -> tuple[list[str], int]:
        """The words of a command, and the status with which it is to end."""
        words, _, status = example.partition("=") if re.search(r"=\d+$", example) else (example, "", "0")
        names = {
            **self.fleet.names,
            "repo": self.fleet.repo.path,
            "fresh": self.fleet.home / f"{next(COUNT)}.md",
        }
        return [*command.split(), *shlex.split(words.format(**names))], int(status)


@pytest.fixture(scope="module")
def sweep() -> Iterator[Sweep]:
    folder = Path(tempfile.mkdtemp(prefix="pcf-"))  # short: sockets live in it
    fleet = Populated(folder)
    recorder = Recorder(fleet.app)
    api = fleet.serve(recorder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANCODE_HOME", str(fleet.home))
        patch.setenv("USER", "ana")
        yield Sweep(fleet, recorder)
    api.stop()
    fleet.close()
    shutil.rmtree(folder)


def leaves(command: click.Command = cli, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command below this one, by its words."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None, name
        yield from leaves(found, f"{path} {name}".strip())


def changing() -> set[str]:
    return {name.strip() for name in CHANGES.replace("\n", " ").split(",")}


def test_each_command_stands_in_one_table() -> None:
    tables = (set(LOOKS), changing(), set(HOLDS))
    assert set().union(*tables) == {name for name, _ in leaves()}
    assert sum(map(len, tables)) == len(set().union(*tables)), "a command stands in two tables"
    assert set(LOOKS_OF_CHANGES) <= changing()


EXAMPLES = [
    (command, example) for command, examples in {**LOOKS, **LOOKS_OF_CHANGES}.items() for example in examples
]
TAKES_JSON = {name for name, command in leaves() if any("--json" in one.opts for one in command.params)}


@pytest.mark.parametrize(("command", "example"), EXAMPLES, ids=lambda word: word or "-")
def test_a_command_that_looks_says_something(sweep: Sweep, command: str, example: str) -> None:
    words, status = sweep.asked(command, example)
    said = sweep(words)
    assert said.status == status, said.err
    assert said.out.strip() and not NOTHING.search(said.out), said.out
    check_heard(command, said)


@pytest.mark.parametrize(
    ("command", "example"),
    [
        one
        for one in EXAMPLES
        if one[0] in TAKES_JSON and not one[1].endswith(("--csv", "--markdown", "--rq info"))
    ],
    ids=lambda word: word or "-",
)
def test_its_json_is_what_its_route_promises(sweep: Sweep, command: str, example: str) -> None:
    words, status = sweep.asked(command, example)
    said = sweep([*words, "--json"])
    assert said.status == status, said.err
    check_heard(command, said)
    answers = [one.data for one in said.heard if isinstance(one.data, dict)]
    for line in map(json.loads, said.out.splitlines()):
        assert isinstance(line, dict) and line
        lists = [value for value in line.values() if isinstance(value, list)]
        assert any(lists) or not lists or command in LISTS_NOTHING
        if not is_part(line, answers):
            assert " ".join(sorted(line)) in OWN_JSON.get(command, ())


LOADING = """
import json, os, sys
import pancode.__main__, pancode.interfaces.cli.main
for line in sys.stdin:
    reading, writing = os.pipe()
    child = os.fork()  # each from the same start, as one command is
    if child == 0:
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(quiet, stream)
        real_exit, os._exit, sys.argv = os._exit, sys.exit, ["pancode", *json.loads(line)]
        try:
            pancode.__main__.main()
        except SystemExit as end:
            with open(writing, "w") as out:
                json.dump({"status": end.code or 0, "modules": sorted(sys.modules)}, out)
        finally:
            real_exit(0)
    os.close(writing)
    with open(reading) as file:
        print(file.read(), flush=True)
    os.waitpid(child, 0)
"""
HEAVIER = {
    "admin queue": "it reads Redis itself, with RQ",
    "config check agents.yaml": "it checks a file against the schema, also in a hook of git",
    "config check chain.yaml": "the same",
    "config check --kind settings": "the same",
}
"""Commands that load what a coordinator has loaded, each with its reason."""


@pytest.fixture(scope="module")
def loading(sweep: Sweep) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", LOADING],
        cwd=sweep.fleet.repo.path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        yield child
        assert child.stdin is not None
        child.stdin.close()


@pytest.mark.parametrize(
    ("command", "example"),
    [
        (command, example)
        for command, examples in LOOKS.items()
        for example in examples
        if not f"{command} {example}".startswith(tuple(HEAVIER))
    ],
    ids=lambda word: word or "-",
)
def test_a_command_that_looks_loads_no_coordinator(
    sweep: Sweep, loading: subprocess.Popen[str], command: str, example: str
) -> None:
    words, status = sweep.asked(command, example)
    assert loading.stdin is not None and loading.stdout is not None
    loading.stdin.write(json.dumps(words) + "\n")
    loading.stdin.flush()
    ended = json.loads(loading.stdout.readline())
    assert ended["status"] == status
    heavy = {name.split(".")[0] for name in ended["modules"]} & {*HEAVY} - {"yaml"}
    ours = [name for name in ended["modules"] if name.startswith("node_agent.") and name[11:15] != "wire"]
    assert not heavy and not ours


LISTS_NOTHING = ("admin keys", "mcp install", "project show", "policy check", "issue work", "config check")
"""Commands about one thing, of which there is nothing more to say."""


def is_part(line: dict[str, Any], answers: list[dict[str, Any]]) -> bool:
    """Whether a command says what the API has answered: an answer, one of its rows, or some rows of one."""

    def has(answer: dict[str, Any]) -> bool:
        inner = [row for value in answer.values() if isinstance(value, list) for row in value]
        same = all(name in answer and _within(value, answer[name]) for name, value in line.items())
        return same or line in [*inner, *answer.values()]

    return any(map(has, answers))


def _within(value: Any, whole: Any) -> bool:
    return value == whole or (
        isinstance(value, list) and isinstance(whole, list) and all(one in whole for one in value)
    )


def check_heard(command: str, said: Said) -> None:
    """Whatever the API has answered fits its document, and nothing was changed."""
    wrong = [f"{one.verb.name} -> {one.status}: {one.data}" for one in said.heard if one.status >= 400]
    for one in said.heard:
        if one.status < 400 and not isinstance(one.data, bytes):
            wrong += [
                *SCHEMAS.problems(one.verb, one.data),
                *misfits(one.data, one.verb.answers, one.verb.name),
            ]
    assert not wrong
    if command not in LOOKS_OF_CHANGES:
        writes = {one.verb.name for one in said.heard if one.verb.method != "GET"}
        assert writes <= MAY_WRITE.get(command, set())


@pytest.mark.parametrize("how", [[], ["-f"], ["--attempt", "1"]], ids=" ".join)
def test_the_log_of_a_program_is_the_text_that_the_coordinator_makes_of_its_events(
    sweep: Sweep, how: list[str]
) -> None:
    events, shown = output("claude", "ok-edit"), list[str]()
    story = LogStory("claude", shown.append)
    story.write("1.1", events)
    story.end()
    assert sweep(["logs", sweep.fleet.names["claude"], *how]).out == "".join(shown)
    assert sweep(["logs", sweep.fleet.names["claude"], *how, "--raw"]).out == events.decode()


NAMES = {
    "/v1/sessions/{run}": "session",
    "/v1/explore/{run}": "scout",
    "/v1/history/{run}": "scout",
    "/v1/runs/{run}/prompt": "scout",
    "/v1/runs/{run}/tools/{tool}": "tool_run",
}
"""What stands for the run in a route's path, where it is not just any run."""
QUERIES = {
    "/v1/rules/judged": {"command": "git push"},
    "/v1/events": {"tail": "3", "end": "1"},
    "/v1/issues": {"project": "shop"},
    "/v1/landings/green": {"folder": "{repo}"},
}
MAY_BE_EMPTY = {
    "/v1/backups": {"to", "outcomes"},
    "/v1/brief": {"notes"},
    "/v1/config": {"warnings"},
    "/v1/context": {"given"},
    "/v1/held": {"held", "nodes"},
    "/v1/now": {"chats"},
    "/v1/notify": {"troubles", "unknown_channels"},
    "/v1/rules": {"files", "warnings"},
    "/v1/rules/judged": {"because"},
    "/v1/snapshots": {"snapshots"},
}
"""Lists that are empty in a fleet that is well."""
NOT_HERE = {
    "/v1/sessions/{run}/stream": "it continues until its reader leaves: tests/unit/pancode/sessions",
    "/v1/web/session": "only a browser's token has one: tests/e2e/test_web.py",
}
LOOKING = [verb for verb in VERBS if verb.method == "GET" and verb.path not in NOT_HERE]


def test_the_routes_are_those_of_the_application(sweep: Sweep) -> None:
    routes = [(one.path, list(one.methods or ())) for one in sweep.fleet.app.routes if isinstance(one, Route)]
    there = {path for path, methods in routes if "GET" in methods}
    assert there == {verb.path for verb in LOOKING} | set(NOT_HERE)


@pytest.mark.parametrize("verb", LOOKING, ids=lambda verb: verb.path)
def test_a_route_that_looks_answers_as_its_document_says(sweep: Sweep, verb: Verb) -> None:
    path, query = sweep.route(verb)
    answer = sweep.fleet.http.get(path, **query)
    assert answer.status_code == 200, answer.text
    if "json" not in answer.headers["content-type"]:
        assert answer.content
        return
    assert [*SCHEMAS.problems(verb, answer.json()), *misfits(answer.json(), verb.answers)] == []
    if "{" not in verb.path:
        empty = {name for name, value in answer.json().items() if value == []}
        assert empty <= MAY_BE_EMPTY.get(verb.path, set())


CALLS = re.compile(
    r"""\b(?:useLive|get|ask|withQuery)\((?:[^()"`]*\? )?"""
    r"""(?:"(?P<plain>[a-z][\w./-]*)"|`?\$?\{?at\((?P<parts>[^()]*)\))"""
    r"""[^,;)]*(?:, \{(?P<query>(?:[^{}]|\{[^{}]*\})*)\})?"""
)
"""Where a page asks for an answer: its path, or the parts of it, and the query."""


def pages() -> dict[str, set[tuple[str, tuple[str, ...]]]]:
    """What each page of the console asks, read out of its source."""
    found = {}
    for file in sorted(WEB.glob("pages/*.js")):
        calls = CALLS.finditer(file.read_text())
        found[file.stem] = {(_path(one), _keys(one["query"] or "")) for one in calls if _path(one)}
    return found


def _path(call: re.Match[str]) -> str:
    parts = [part.strip() for part in (call["parts"] or "").split(",") if part.strip()]
    return call["plain"] or "/".join(part[1:-1] if part[0] == '"' else "x" for part in parts)


def _keys(query: str) -> tuple[str, ...]:
    names = (re.match(r"\s*(\w+)\s*(?::|$)", part) for part in query.split(","))
    return tuple(sorted(name[1] for name in names if name and name[1] not in ("signal", "method", "headers")))


WITHOUT_ASKING = {"dispatch", "make", "runtimeline"}
"""Pages that only send, or show what their page has asked."""


def test_each_page_asks_for_what_is_there() -> None:
    asked = pages()
    assert {name for name, asks in asked.items() if not asks} == WITHOUT_ASKING
    for page, asks in asked.items():
        for path, query in asks:
            verb = asked_verb("GET", f"/v1/{path}")
            assert set(query) <= set(verb.query), (page, path, query)


TOP = [
    *((view, "") for view, page in VIEWS.items() if page.words),
    *((view, "{run}") for view in ("run", "why", "diff", "receipt")),
    *(("node", name) for name in ("desk", "gpubox", "attic")),
    *(("run", f"{{{name}}}") for name in ("lost", "running", "waiting", "blocked", "session", "infra")),
    *(("workflow", "{workflow}"), ("item", "{item}"), ("open", "{project}"), ("compare", "{run} {running}")),
]


@pytest.mark.parametrize(("view", "about"), TOP, ids=lambda word: word or "-")
def test_a_page_of_top_shows_something(sweep: Sweep, view: str, about: str) -> None:
    client = Client(sweep.fleet.home, starts=False)
    item = client.get("/v1/inbox")["items"][0]["id"]
    name = about.format(**{**sweep.fleet.names, "item": item})
    asks = {**SUMMARY, **VIEWS[view].asks(name)}
    answers = {
        word: client.raw(ask.path, **ask.query) if ask.raw else client.get(ask.path, **ask.query)
        for word, ask in asks.items()
    }
    page = VIEWS[view].page(answers, name, PageMoment.of(sweep.fleet.desk.clock.wall_ms()))
    assert page.rows or page.lines
    assert draw_summary(answers)


def test_every_page_of_top_is_shown() -> None:
    assert {view for view, _ in TOP} == set(VIEWS) - {"log"}, "the log is that of runs logs"
