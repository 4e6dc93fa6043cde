"""What the fleet's model servers can do for a run: who has its model is, and what others lack. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from node_agent.wire.endpoint import (
    RUNTIME_WIRES,
    Dialect,
    EndpointFact,
    Health,
    ModelFact,
    Residence,
)
from node_agent.wire.node import NodeFacts
from pancode.domain.fleet import NodeView
from pancode.domain.models import LOCAL, ModelRef
from pancode.domain.names import nearest
from pancode.errors import NotFoundError

CHARS_OF_TOKEN = 4
"""Of English and of code, about: an estimate, never a count."""
OWN_TOKENS = {
    "claude": 13_500,
    "codex": 9_700,
    "copilot": 6_200,
    "native": 700,
    "opencode": 5_400,
    "qwen": 17_600,
}
"""What each program says before the task: its first call at full-auto, as it was measured."""
_PULL = {
    Dialect.OLLAMA: "ollama pull {model}",
    Dialect.LMSTUDIO: "lms get {model}",
    Dialect.LLAMACPP: "llama-server -hf {model}",
    Dialect.VLLM: "vllm serve {model}",
    Dialect.SGLANG: "python -m sglang.launch_server --model-path {model}",
}
_WIDEN = {
    Dialect.OLLAMA: "OLLAMA_CONTEXT_LENGTH={tokens} ollama serve",
    Dialect.LMSTUDIO: "lms load {model} --context-length {tokens}",
    Dialect.LLAMACPP: "llama-server --ctx-size {tokens} for each slot (--parallel)",
    Dialect.VLLM: "vllm serve {model} --max-model-len {tokens}",
    Dialect.SGLANG: "--context-length {tokens} at the start of SGLang",
}
_NAMES = {
    "ollama": Dialect.OLLAMA,
    "lmstudio": Dialect.LMSTUDIO,
    "llamacpp": Dialect.LLAMACPP,
    "vllm": Dialect.VLLM,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run asks of an endpoint. `context`: tokens that its first call has, about."""

    endpoint: str
    model: str
    runtime: str
    context: int = 0


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a node's endpoint does not do, and what would mend it."""

    why: str
    fix: str = ""


def endpoint_names(nodes: Sequence[NodeView]) -> frozenset[str]:
    """Of every node that was heard."""
    return frozenset(one.name for view in nodes for one in _facts(view))


def endpoint_of(ref: ModelRef | None, nodes: Sequence[NodeView]) -> str | None:
    """The endpoint that a model names; None for a model of a vendor's, or of the runtime's own."""
    if ref is None or ref.provider is None:
        return None
    return ref.provider if ref.provider in {*LOCAL, *endpoint_names(nodes)} else None


def serving(nodes: Sequence[NodeView], model: str, node: str | None = None) -> list[str]:
    """The names of the endpoints that have a model of that name; `node`: only there."""
    asked = [view for view in nodes if node in (None, view.node.name)]
    return sorted({one.name for view in asked for one in _facts(view) if _serves(one, model)})


def _serves(endpoint: EndpointFact, model: str) -> bool:
    found = endpoint.model(model)
    return found is not None and not found.embedding


def context_of(runtime: str, prompt: str, task: str) -> int:
    """About how many tokens the first call has: the program's own words, the prompt, the task."""
    return OWN_TOKENS.get(runtime, 0) + (len(prompt) + len(task)) // CHARS_OF_TOKEN


def lack_of(facts: NodeFacts, wanted: Wanted, node: str) -> Lack | None:
    """None: this node's endpoint does. What is not known is no reason."""
    found = next((one for one in facts.endpoints if one.name == wanted.endpoint), None)
    if found is None:
        return Lack(f"has no endpoint {wanted.endpoint} now", f"start it on {node}, then: pancode endpoints")
    if found.health is not Health.OK:
        state = "is wedged" if found.health is Health.WEDGED else "needs a key"
        return Lack(f"its {found.name} {state}: {found.words}", f"on {node}: {found.fix}")
    wire = RUNTIME_WIRES.get(wanted.runtime)
    if wire not in found.wires:
        words = f"its {found.name} does not speak {wire}, which {wanted.runtime} asks on"
        return Lack(words, "--runtime native, which asks on chat")
    model = found.model(wanted.model)
    if model is None:
        return (
            None
            if found.more
            else Lack(f"has no model {wanted.model} at {found.name}", _on(node, found, wanted))
        )
    return _unable(found, model, wanted, node)


def _unable(found: EndpointFact, model: ModelFact, wanted: Wanted, node: str) -> Lack | None:
    if model.embedding:
        return Lack(f"{model.id} at its {found.name} makes vectors, no words", "pancode models")
    if model.tools is False:
        words = f"{model.id} at its {found.name} cannot call tools, so it can change nothing"
        return Lack(words, "a model whose TOOLS says yes: pancode models")
    if model.ctx_usable is not None and model.ctx_usable < wanted.context:
        words = (
            f"its {found.name} gives {model.id} a context of {model.ctx_usable} tokens, "
            f"and this run begins with about {wanted.context}"
        )
        return Lack(words, f"on {node}: {widen(found, model, wanted.context)}")
    return None


def widen(found: EndpointFact, model: ModelFact, needed: int) -> str:
    """The setting of that server that gives a model a longer context."""
    tokens = 16_384
    while tokens < needed * 2:
        tokens *= 2
    if model.ctx_max is not None and model.ctx_max < needed:
        return f"use another model: {model.id} was trained for {model.ctx_max} tokens"
    tokens = tokens if model.ctx_max is None else min(tokens, model.ctx_max)
    setting = _WIDEN.get(found.dialect, "its own setting for the context, {tokens} tokens")
    return setting.format(model=shlex.quote(model.id), tokens=tokens)


def rank(facts: NodeFacts, wanted: Wanted) -> int:
    """Lower is better: loaded, then unknown, then what has to be loaded first."""
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
"""In words, by rank."""


def costs_nothing(nodes: Sequence[NodeView], endpoint: str, model: str) -> bool:
    """Whether every endpoint of that name is free, and the model is its own. Of one unheard nobody knows."""
    named = [one for view in nodes for one in _facts(view) if one.name == endpoint]
    models = [one.model(model) for one in named]
    free = bool(named) and all(one.free for one in named)
    return free and not any(one.remote for one in models if one is not None)


def check_known(nodes: Sequence[NodeView], ref: ModelRef, endpoint: str) -> None:
    """NotFoundError for an endpoint or model that is on no node, if every node was heard: else who knows.

    Nor does anybody know what is at an endpoint that wants a key, or is wedged: placement says which it is.
    """
    asked = [view for view in nodes if view.node.removed is None and ref.node in (None, view.node.name)]
    if not asked or any(view.heard is None for view in asked):
        return
    there = [(view.node.name, one) for view in asked for one in _facts(view) if one.name == endpoint]
    if not there:
        raise _no_endpoint(asked, ref, endpoint)
    if any(one.health is not Health.OK or one.more or one.model(ref.model) for _, one in there):
        return
    names = [model.id for _, one in there for model in one.models if not model.embedding]
    near = nearest(ref.model, names)
    listed = f"there are {', '.join(names[:8])}" if names else "it has no model at all"
    node, found = there[0]
    others = _elsewhere(nodes, ref.model)
    raise NotFoundError(
        f"no endpoint {endpoint} has the model {ref.model!r}",
        why="; ".join(filter(None, (f"did you mean {endpoint}/{near}?" if near else listed, others))),
        fix=_on(node, found, Wanted(endpoint, ref.model, "")),
        code="model_not_found",
    )


def _no_endpoint(asked: Sequence[NodeView], ref: ModelRef, endpoint: str) -> NotFoundError:
    names = sorted(endpoint_names(asked))
    where = ref.node or "any node"
    command = _PULL.get(_NAMES.get(endpoint, Dialect.OPENAI), "").format(model=shlex.quote(ref.model))
    node = ref.node or asked[0].node.name
    start = f"start it on {node}" + (f" ({command})" if command else "")
    return NotFoundError(
        f"there is no endpoint {endpoint!r} on {where}",
        why=_elsewhere(asked, ref.model) or (f"there are {', '.join(names)}" if names else "none was found"),
        fix=f"{start}, or list its address in endpoints.json there; look: pancode endpoints",
        code="endpoint_not_found",
    )


def _elsewhere(nodes: Sequence[NodeView], model: str) -> str:
    """Where a model of that name is, in words."""
    there = [f"{v.node.name}/{one.name}" for v in nodes for one in _facts(v) if one.model(model) is not None]
    return f"it is at {', '.join(there[:4])}" if there else ""


def _on(node: str, found: EndpointFact, wanted: Wanted) -> str:
    command = _PULL.get(found.dialect)
    if command is None:
        return f"have the server at {found.at} of {node} serve it; what is there: pancode models"
    return f"on {node}: {command.format(model=shlex.quote(wanted.model))}; what is there: pancode models"


def _facts(view: NodeView) -> tuple[EndpointFact, ...]:
    return (
        view.heard.heartbeat.facts.endpoints if view.heard is not None and view.node.removed is None else ()
    )
