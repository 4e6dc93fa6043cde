"""Starts PanCode's own workers on the node's Python: rules in a file, the task on standard input."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from node_agent.runtimes import skills
from node_agent.runtimes.base import AGENT_PROGRAM, BASE_FILES, LaunchRequest, Place, ProcessSpec, base_env
from node_agent.runtimes.starting import prompt_in, task_of
from node_agent.runtimes.vendors import CONTEXT, HOSTED, KEY, LOGINS, NAME, URL, RuntimeProvider, split_model
from node_agent.runtimes.workerspec import CHANGES, FILE, PROMPT, SKILL, SKILLS, TOOLS, MadeTool, WorkerSpec
from node_agent.wire.job import Reasoning
from node_agent.wire.policy import Isolation, Safety, compile_policy
from node_agent.wire.skill import ABOUT, JobSkill
from node_agent.wire.skill import TOOLS as KEPT

CREDENTIALS = (*LOGINS, CONTEXT)
"""The variables of model servers; a self-hosted server without a key needs only its URL."""
LOGIN = (
    "pancode node secret NODE OPENAI_API_KEY, or the key of another model server, or OPENAI_BASE_URL for a "
    "server with OpenAI's chat API, such as http://127.0.0.1:11434/v1 (stored in "
    "~/.pancode-node/*/secrets.json there)"
)
LEVELS: Mapping[Reasoning, str] = {level: level.value for level in Reasoning} | {Reasoning.OFF: "none"}
CAPABILITIES = replace(
    AGENT_PROGRAM,
    tool_list=True,
    turn_limit=True,
    hears=True,
    asks_users=True,
    reasoning=frozenset(LEVELS),
    narrows=True,
    tells_turns=True,
)
SDK_HOST = "sdk/program.py"
"""The program for runs on SDKs, in the node agent's own code."""
MOST_SPARE_MS = 2_000
"""The most by which the worker's time limit ends before the run's, so that it can report its result."""
OPTIMISED = tuple(f"-{'O' * sys.flags.optimize}" for _ in range(1) if sys.flags.optimize)
"""The optimization flags of the node agent's Python: its libraries are compiled for them."""


def launch_worker(program: str, request: LaunchRequest, place: Place, *more: str) -> ProcessSpec:
    """Return how to start a worker: without Python packages of the node or the repository, and with only the
    needed key. `program`: a path in the node agent's code; `more`: arguments after the path of the spec."""
    provider, model = split_model(request.model)
    own = base_env(request, place)
    through = URL in own
    model = own.get(NAME) or request.model or model if through else model
    wanted = {KEY, URL} if through else {provider.key, provider.url}
    env = {name: value for name, value in own.items() if name not in CREDENTIALS or name in wanted}
    spec = spec_of(request, place, (provider, model), own, through)
    return launch_of(program, request, place, env, spec, *more)


def launch_of(
    program: str, request: LaunchRequest, place: Place, env: Mapping[str, str], spec: WorkerSpec, *more: str
) -> ProcessSpec:
    """Return the start of a worker with this spec, with its command line and files."""
    given = (place.package, place.libraries, f"{request.home}/{FILE}", *more)
    argv = (place.python, "-I", "-S", *OPTIMISED, f"{place.package}/{program}", *given)
    files = {**BASE_FILES, **prompt_in(PROMPT, request), FILE: spec.model_dump_json().encode()}
    files |= skills.lay_files(request, SKILLS)
    return ProcessSpec(argv, env, task_of(request), files)


def spec_of(
    request: LaunchRequest,
    place: Place,
    model: tuple[RuntimeProvider, str],
    env: Mapping[str, str],
    through: bool,
) -> WorkerSpec:
    """Return the worker's spec. `through`: its calls go through the gateway, under the gateway's names."""
    provider, name = model
    limits = request.limits
    # otherwise the worker's own limit would stop it before the last turn
    own = None if limits.wrap_up else limits
    known = env.get(CONTEXT, "")
    hosted = HOSTED in env if through else provider.url not in env
    return WorkerSpec(
        model=name,
        key_name=KEY if through else provider.key,
        url_name=URL if through else provider.url,
        url=provider.home,
        suffix="" if through else provider.suffix,
        is_hosted=hosted,
        through_gateway=through,
        newest=hosted and provider.name == "openai",
        hidden=(KEY, URL, NAME, HOSTED, *CREDENTIALS),
        top=request.workspace,
        folder=request.folder,
        home=request.home,
        tools=(
            *_make_tool_flags(request.tools),
            *([SKILL] if any(one.place != KEPT for one in request.skills) else []),
        ),
        policy=request.policy or compile_policy(request.safety, request.read_only, mode=request.mode),
        safety=request.safety if request.may_write else Safety.SUGGEST,
        writes=request.may_write,
        walled=place.isolation is Isolation.SANDBOX,
        context=request.context or (int(known) if known.isdecimal() and int(known) else None),
        wall_ms=max(limits.wall_ms - MOST_SPARE_MS, limits.wall_ms // 2),
        tokens=own.tokens if own else None,
        turns=own.requests if own else None,
        answers=limits.turns,
        wrap_up=limits.wrap_up,
        sampling=request.sampling,
        output_bytes=limits.output_bytes,
        thinks=LEVELS[request.reasoning] if request.reasoning else "",
        resume=request.resume.session if request.resume else "",
        desk=request.channel,
        interactive_run=request.interactive_run,
        fleet=request.fleet,
        skills={skill.name: _read_description(skill) for skill in request.skills if skill.place != KEPT},
        made=_list_made_tools(request),
    )


_DESCRIPTION = re.compile(r"^description:[ \t]*(.*(?:\n[ \t]+.*)*)", re.MULTILINE)
_MOST_ABOUT = 500


def _read_description(skill: JobSkill) -> str:
    """Return the skill's description as written, on one line. The front matter was already checked as YAML,
    and this approximation is enough for a model that only chooses a skill."""
    found = _DESCRIPTION.search(skill.files().get("SKILL.md", b"").decode("utf-8", "replace"))
    words = " ".join(found[1].split()) if found else ""
    return re.sub(r"^[>|][+-]? ", "", words).strip("\"'")[:_MOST_ABOUT]


def _list_made_tools(request: LaunchRequest) -> tuple[MadeTool, ...]:
    """Return the stored project tools, for an agent that may run commands."""
    if not request.may_write or "bash" not in request.tools:
        return ()
    found = []
    for skill in request.skills:
        if skill.place == KEPT:
            about = json.loads(skill.files()[ABOUT])
            run = f"{request.home}/{SKILLS}/{skill.name}/run"
            form = json.dumps(about["input"])
            found.append(
                MadeTool(name=skill.name, about=about["about"], form=form, run=run, seconds=about["seconds"])
            )
    return tuple(found)


def _make_tool_flags(names: Sequence[str]) -> tuple[str, ...]:
    reads = "read" in names and "bash" not in names
    return (*(tool for tool in TOOLS if tool in names), *([CHANGES] if reads else []))
