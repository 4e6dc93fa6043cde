"""The fleet's model servers: which can serve a run, why others cannot, and a record of the one used."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from node_agent.wire.endpoint import (
    Dialect,
    EndpointFact,
    Health,
    ModelFact,
    Residence,
    advise_widen,
    troubled_name,
    wire_of,
)
from node_agent.wire.node import NodeFacts, NodeProblem
from pancode.agents.model_profiles import ModelPlace, Trust, fact_of, judge_passport
from pancode.agents.models import LOCAL, ModelRef, model_ref
from pancode.kernel.errors import NotFoundError
from pancode.kernel.names import find_nearest
from pancode.kernel.node import NodeView, with_words
from pancode.kernel.records import Run

CHARS_OF_TOKEN = 4
"""Estimated characters per token, in English and in code."""
OWN_TOKENS = {
    "claude": 13_500,
    "claude-sdk": 1_200,
    "codex": 9_700,
    "copilot": 6_200,
    "native": 700,
    "openai-agents": 700,
    "opencode": 5_400,
}
"""Measured tokens of each program's first call at full-auto, without the task."""
_PULL = {
    Dialect.OLLAMA: "ollama pull {model}",
    Dialect.LMSTUDIO: "lms get {model}",
    Dialect.LLAMACPP: "llama-server -hf {model}",
    Dialect.VLLM: "vllm serve {model}",
    Dialect.SGLANG: "python -m sglang.launch_server --model-path {model}",
}
_FROM_DISK = {
    Dialect.LLAMACPP: "llama-server -m FILE.gguf --alias {model}",
    Dialect.VLLM: "vllm serve FOLDER --served-model-name {model}",
    Dialect.SGLANG: "python -m sglang.launch_server --model-path FOLDER --served-model-name {model}",
}
"""The command for a model that the server cannot download: only its owner knows the path of the weights."""
_HUB = "hf.co/"
_REPOSITORY = re.compile(r"[a-z0-9][a-z0-9_.-]*/[a-z0-9][a-z0-9_.-]*", re.ASCII | re.IGNORECASE)
_NAMES = {
    "ollama": Dialect.OLLAMA,
    "lmstudio": Dialect.LMSTUDIO,
    "llamacpp": Dialect.LLAMACPP,
    "vllm": Dialect.VLLM,
}


@dataclass(frozen=True, slots=True)
class EndpointNeed:
    """What a run needs from an endpoint. `context`: estimated tokens of its first call."""

    endpoint: str
    model: str
    runtime: str
    context: int = 0


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a node's endpoint does not fit, with the fix."""

    why: str
    fix: str = ""


def endpoint_names(nodes: Sequence[NodeView]) -> frozenset[str]:
    """Return the endpoint names of all nodes that have reported, including endpoints that do not work."""
    there = {one.name for view in nodes for one in _list_facts(view)}
    return frozenset(there.union(name for _, name, _ in _find_problems(nodes)))


def fleets_model(text: str, nodes: Sequence[NodeView]) -> ModelRef:
    """Parse a model name with the node and endpoint names of this fleet."""
    return model_ref(text, [view.node.name for view in nodes], endpoint_names(nodes))


def endpoint_of(ref: ModelRef | None, nodes: Sequence[NodeView]) -> str | None:
    """Return the endpoint that a model names; None for a vendor's model or the runtime's default."""
    if ref is None or ref.provider is None:
        return None
    return ref.provider if ref.provider in {*LOCAL, *endpoint_names(nodes)} else None


def list_usable(facts: NodeFacts, runtime: str) -> tuple[str, ...]:
    """Return the names of a node's own endpoints that the runtime can use now."""
    wire = wire_of(runtime)
    return tuple(
        one.name
        for one in facts.endpoints
        if one.health is Health.OK
        and wire in one.wires
        and (one.more or not all(m.embedding for m in one.models))
    )


def find_by_model(nodes: Sequence[NodeView], model: str, node: str | None = None) -> list[str]:
    """Return the names of the endpoints that have this model; `node`: only on that node."""
    candidates = [view for view in nodes if node in (None, view.node.name)]
    return sorted({one.name for view in candidates for one in _list_facts(view) if _serves_model(one, model)})


def _serves_model(endpoint: EndpointFact, model: str) -> bool:
    found = endpoint.model(model)
    return found is not None and not found.embedding


def context_of(runtime: str, prompt: str, task: str) -> int:
    """Estimate the tokens of the first call: the program's own prompt, the run's prompt and the task."""
    return OWN_TOKENS.get(runtime, 0) + (len(prompt) + len(task)) // CHARS_OF_TOKEN


def lack_of(facts: NodeFacts, wanted: EndpointNeed, node: str) -> Lack | None:
    """Return why the node's endpoint does not fit; None if it does. Unknown facts count as fitting."""
    found = next((one for one in facts.endpoints if one.name == wanted.endpoint), None)
    if found is None:
        return Lack(
            f"has no endpoint {wanted.endpoint} now", f"start it on {node}, then: pancode models ls --servers"
        )
    if found.health is not Health.OK:
        state = "is wedged" if found.health is Health.WEDGED else "needs a key"
        return Lack(
            with_words(f"its {found.name} {state}: {found.words}", found.fix), "pancode models ls --servers"
        )
    wire = wire_of(wanted.runtime)
    if wire not in found.wires:
        words = f"its {found.name} does not offer {wire}, the API that {wanted.runtime} uses"
        return Lack(words, "--runtime native, which uses the chat API")
    model = found.model(wanted.model)
    if model is None:
        return (
            None
            if found.more
            else Lack(f"has no model {wanted.model} at {found.name}", _on(node, found, wanted))
        )
    return _find_lack(found, model, wanted, node)


def _find_lack(found: EndpointFact, model: ModelFact, wanted: EndpointNeed, node: str) -> Lack | None:
    if model.embedding:
        return Lack(f"{model.id} at its {found.name} is an embedding model", "pancode models")
    if model.tools is False:
        words = f"{model.id} at its {found.name} cannot call tools, so it cannot change files"
        return Lack(words, "choose a model with `yes` under TOOLS: pancode models")
    if model.ctx_usable is not None and model.ctx_usable < wanted.context:
        words = (
            f"its {found.name} gives {model.id} a context of {model.ctx_usable} tokens, but this "
            f"run starts with about {wanted.context}"
        )
        return Lack(words, f"on {node}: {_format_setting(found, model, wanted.context)}")
    return None


def _format_setting(found: EndpointFact, model: ModelFact, needed: int) -> str:
    """Return the server setting for a longer context: at least twice the tokens of the run's first call."""
    tokens = 16_384
    while tokens < needed * 2:
        tokens *= 2
    return advise_widen(found, model, needed, tokens)


def rank_node(facts: NodeFacts, wanted: EndpointNeed) -> int:
    """Return the node's rank by the model's state, lower is better: loaded, unknown, asleep, not loaded."""
    found = next((one for one in facts.endpoints if one.name == wanted.endpoint), None)
    model = None if found is None else found.model(wanted.model)
    match None if model is None else model.residence:
        case Residence.LOADED:
            return 0
        case Residence.ASLEEP:
            return 2
        case Residence.NOT_LOADED:
            return 3
        case _:
            return 1


RANKED = ("has it loaded", "may have it loaded", "will wake it", "will load it, which may take minutes")
"""The ranks of `rank_node` as text."""


def costs_nothing(nodes: Sequence[NodeView], endpoint: str, model: str) -> bool:
    """Whether the model is free on every endpoint of this name; False if no node has reported one."""
    named = [one for view in nodes for one in _list_facts(view) if one.name == endpoint]
    models = [one.model(model) for one in named]
    free = bool(named) and all(one.free for one in named)
    return free and not any(one.remote for one in models if one is not None)


def costs_there(facts: NodeFacts, wanted: EndpointNeed) -> bool:
    """Whether the model costs money on that node's endpoint; an endpoint not yet reported counts as free."""
    found = next((one for one in facts.endpoints if one.name == wanted.endpoint), None)
    model = None if found is None else found.model(wanted.model)
    return found is not None and (not found.free or (model is not None and model.remote))


def check_known(nodes: Sequence[NodeView], ref: ModelRef, endpoint: str) -> None:
    """Raise NotFoundError for an endpoint or model that no node has, once every node has reported. Does
    nothing if an endpoint of that name needs a key or is wedged: placement reports that."""
    candidates = [view for view in nodes if view.node.removed is None and ref.node in (None, view.node.name)]
    if not candidates or any(view.last is None for view in candidates):
        return
    there = [
        (view.node.name, one) for view in candidates for one in _list_facts(view) if one.name == endpoint
    ]
    if not there:
        raise _no_endpoint(candidates, ref, endpoint)
    if any(one.health is not Health.OK or one.more or one.model(ref.model) for _, one in there):
        return
    names = [model.id for _, one in there for model in one.models if not model.embedding]
    near = find_nearest(ref.model, names)
    listed = f"there are {', '.join(names[:8])}" if names else "it has no models"
    node, found = there[0]
    others = _format_other_places(nodes, ref.model)
    raise NotFoundError(
        f"model {ref.model!r} not found at endpoint {endpoint}",
        why="; ".join(filter(None, (f"did you mean {endpoint}/{near}?" if near else listed, others))),
        fix=_on(node, found, EndpointNeed(endpoint, ref.model, "")),
        code="model_not_found",
    )


def _no_endpoint(candidates: Sequence[NodeView], ref: ModelRef, endpoint: str) -> NotFoundError:
    if trouble := next((one for one in _find_problems(candidates) if one[1] == endpoint), None):
        node, _, problem = trouble
        return NotFoundError(
            f"endpoint {endpoint!r} cannot be used",
            why=with_words(f"{node}: {problem.what}", problem.fix),
            fix=f"fix this on {node}; for details: pancode node show {node}",
            code="endpoint_not_found",
        )
    names = sorted({one.name for view in candidates for one in _list_facts(view)})
    where = ref.node or "any node"
    command = pull_command(_NAMES.get(endpoint, Dialect.OPENAI), ref.model)
    node = ref.node or candidates[0].node.name
    start = f"start it on {node}" + (f" ({command})" if command else "")
    return NotFoundError(
        f"endpoint {endpoint!r} not found on {where}",
        why=_format_other_places(candidates, ref.model)
        or (f"there are {', '.join(names)}" if names else "no endpoints were found"),
        fix=f"{start}, or add its address to endpoints.json there; check with: pancode models ls --servers",
        code="endpoint_not_found",
    )


def _find_problems(nodes: Sequence[NodeView]) -> Iterator[tuple[str, str, NodeProblem]]:
    """Yield (node, name, problem) of each configured model server that the node cannot use."""
    for view in nodes:
        problems = view.last.heartbeat.facts.problems if view.last is not None else ()
        for problem in problems if view.node.removed is None else ():
            if (name := troubled_name(problem.what)) is not None:
                yield view.node.name, name, problem


def _format_other_places(nodes: Sequence[NodeView], model: str) -> str:
    """Return the endpoints that have a model of this name, as text."""
    there = [
        f"{v.node.name}/{one.name}" for v in nodes for one in _list_facts(v) if one.model(model) is not None
    ]
    return f"it is on {', '.join(there[:4])}" if there else ""


def pull_command(dialect: Dialect, model: str) -> str:
    """Return the command that installs a model on a server of this dialect; empty if none is known."""
    if dialect not in _FROM_DISK:
        return _PULL.get(dialect, "").format(model=shlex.quote(model))
    name = model.removeprefix(_HUB)
    # for llama.cpp, a tag selects the file
    repository = name.partition(":")[0] if dialect is Dialect.LLAMACPP else name
    if _REPOSITORY.fullmatch(repository) and shlex.quote(name) == name:
        return _PULL[dialect].format(model=name)
    return _FROM_DISK[dialect].format(model=shlex.quote(model))


def _on(node: str, found: EndpointFact, wanted: EndpointNeed) -> str:
    command = pull_command(found.dialect, wanted.model)
    if not command:
        return f"serve the model with the server at {found.at} on {node}; to list models: pancode models"
    return f"on {node}: {command}; to list models: pancode models"


def _list_facts(view: NodeView) -> tuple[EndpointFact, ...]:
    return view.last.heartbeat.facts.endpoints if view.last is not None and view.node.removed is None else ()


_VERDICTS = {Trust.GOOD: "passed", Trust.FAILED: "failed", Trust.UNTESTED: "not tested"}
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def describe_server(run: Run, view: NodeView, wall_ms: int) -> dict[str, Any]:
    """Return facts about the run's model server as plain JSON; empty if its model is not on an endpoint."""
    if run.endpoint is None or run.model is None:
        return {}
    about = _describe_place(ModelPlace(view.node.name, run.endpoint, run.model), run, view, wall_ms)
    return {**about, "words": _in_words(about)}


def _describe_place(place: ModelPlace, run: Run, view: NodeView, wall_ms: int) -> dict[str, Any]:
    found = fact_of(place, (view,))
    if found is None:
        return {"node": place.node, "endpoint": place.endpoint, "model": place.model}
    endpoint, model = found
    judgement = judge_passport(model.passport)
    verdict = _VERDICTS[judgement.trust]
    age = None if model.passport is None else max(0, wall_ms - model.passport.taken_ms)
    return {
        "node": place.node,
        "endpoint": endpoint.name,
        "at": endpoint.at,
        "model": model.id,
        "ctx_usable": model.ctx_usable,
        "ctx_max": model.ctx_max,
        "residence": None if model.residence is None else model.residence.value,
        "slots": endpoint.slots,
        "slots_free": endpoint.slots_free,
        "test": {"verdict": verdict, "asked": not run.untested, "words": judgement.words, "age_ms": age},
    }


def _in_words(about: Mapping[str, Any]) -> str:
    """Describe the server in one line for users; facts that a node did not report are shown as unknown."""
    if "at" not in about:
        return "the node reported nothing about this model when the run was placed"
    usable, most = (about[key] or "?" for key in ("ctx_usable", "ctx_max"))
    free, slots = ("?" if about[key] is None else about[key] for key in ("slots_free", "slots"))
    parts = (
        f"at {about['at']}: context {usable} of {most} tokens",
        about["residence"] or "unknown whether loaded",
        f"{free} of {slots} slots free",
        _test_words(about["test"]),
    )
    return ", ".join(parts)


def _test_words(test: Mapping[str, Any]) -> str:
    if test["age_ms"] is None:
        return "not tested" if test["asked"] else "not tested (--untested)"
    words = f" ({test['words']})" if test["words"] else ""
    over = "" if test["asked"] else ", ignored because of --untested"
    return f"test {test['verdict']}{words} {_format_age(test['age_ms'])}{over}"


def _format_age(ms: int) -> str:
    seconds = ms // 1000
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
