"""Explains that a model is nowhere: near names, and the nodes that could have it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from node_agent.wire.endpoint import Dialect, EndpointFact, Health
from pancode.agents.endpoints import pull_command
from pancode.agents.models import ModelRef
from pancode.agents.passports import endpoints_of
from pancode.agents.request import VendorList
from pancode.agents.runtimes import RUNTIMES, RuntimeKind
from pancode.core.names import nearest
from pancode.errors import NotFoundError
from pancode.nodes.node import NodeView
from pancode.plain import first_few

_SHOWN = 6
_EASIEST = (Dialect.OLLAMA, Dialect.LMSTUDIO, Dialect.LLAMACPP, Dialect.VLLM, Dialect.SGLANG)
"""The server kinds in the order of the work that one more model takes."""


def check_somewhere(
    ref: ModelRef, kind: RuntimeKind, nodes: Sequence[NodeView], vendors: Mapping[str, VendorList]
) -> None:
    """NotFoundError for a bare name that no endpoint has and that the usual runtime does not know either.

    `nodes`: the possible nodes. A node that is not heard may have it. A word that the runtime might know, as
    `opus`, passes on a node with that runtime.
    """
    if not nodes or any(view.last is None for view in nodes) or _is_theirs(ref.model, kind, vendors):
        return
    near = nearest(ref.model, _names(nodes))
    word = not any(map(str.isdigit, ref.model))
    if _is_there(kind, nodes) and (kind.provider is None or (word and near is None)):
        return
    raise NotFoundError(
        f"no machine has a model {ref.model!r}",
        why=_why(ref.model, near, kind, nodes),
        fix=_fix(ref.model, nodes, vendors),
        code="model_not_found",
    )


def _is_theirs(model: str, kind: RuntimeKind, vendors: Mapping[str, VendorList]) -> bool:
    """Whether the runtime's vendor has a model of that name, or a near one, or uses the name as a short
    form."""
    listed = vendors.get(kind.provider) if kind.provider is not None else None
    if listed is None:
        return False
    word = model.partition("[")[0].lower()
    return listed.knows(model) or any(word in name.lower() for name in listed.names) or _near(model, listed)


def _near(model: str, listed: VendorList) -> bool:
    return nearest(model, listed.names) is not None


def _is_there(kind: RuntimeKind, nodes: Sequence[NodeView]) -> bool:
    """Whether some node has the runtime ready; a vendor's own program need only be installed."""
    facts = (view.last.heartbeat.facts for view in nodes if view.last is not None)
    found = [one.state for fact in facts for one in fact.runtimes if one.name == kind.name]
    return any(state == "ok" or (kind.provider is not None and state != "missing") for state in found)


def _servers(nodes: Sequence[NodeView]) -> Iterator[tuple[NodeView, EndpointFact]]:
    return ((view, one) for view in nodes for one in endpoints_of(view))


def _names(nodes: Sequence[NodeView]) -> dict[str, str]:
    """The names to write for every model that could do a run's work, as they are and without the tag."""
    found: dict[str, str] = {}
    for _, one in _servers(nodes):
        for model in one.models:
            if not model.embedding:
                found.setdefault(model.id, f"{one.name}/{model.id}")
                found.setdefault(model.id.partition(":")[0], f"{one.name}/{model.id}")
    return found


def _why(model: str, near: str | None, kind: RuntimeKind, nodes: Sequence[NodeView]) -> str:
    names = _names(nodes)
    listed = list(dict.fromkeys(names.values()))
    if near is not None:
        return "; ".join([f"did you mean {names[near]}?", *_unseen(nodes)])
    there = f"there are {first_few(listed, _SHOWN)}"
    words = there if listed else "no model server with a model was found"
    if not _is_there(kind, nodes):
        words += f"; {kind.name}, which asks for a model without a provider, is ready on no machine"
    elif kind.provider is not None:
        words += f"; nor is it on the list of {kind.provider}'s"
    return "; ".join([words, *_unseen(nodes)])


def _unseen(nodes: Sequence[NodeView]) -> list[str]:
    """The servers whose models nobody knows completely."""
    hidden = [
        f"{view.node.name}/{one.name}"
        for view, one in _servers(nodes)
        if one.more or one.health is not Health.OK
    ]
    return (
        [f"not all that {', '.join(hidden)} has can be seen, and it may be asked for by its name"]
        if hidden
        else []
    )


def _fix(model: str, nodes: Sequence[NodeView], vendors: Mapping[str, VendorList]) -> str:
    providers = dict.fromkeys(kind.provider for kind in RUNTIMES.values() if kind.provider is not None)
    for provider in providers:
        listed = vendors.get(provider)
        if listed is not None and listed.knows(model):
            return f"--model {shlex.quote(f'{provider}/{model}')}, which is {provider}'s"
    return f"{_pulled(model, nodes)}; or say whose it is: --model {shlex.quote(f'PROVIDER/{model}')}"


def _pulled(model: str, nodes: Sequence[NodeView]) -> str:
    """The command that gets the model, on the machine whose server takes one most easily."""
    able = [
        (view, one) for view, one in _servers(nodes) if one.dialect in _EASIEST and one.health is Health.OK
    ]
    if able:
        view, one = min(able, key=lambda pair: (_EASIEST.index(pair[1].dialect), -_memory(pair[0])))
        return f"on {view.node.name}: {pull_command(one.dialect, model)}"
    view = max(nodes, key=_memory)
    return f"on {view.node.name}: install a model server, with Ollama: {pull_command(Dialect.OLLAMA, model)}"


def _memory(view: NodeView) -> int:
    return view.last.heartbeat.facts.memory if view.last is not None else 0
