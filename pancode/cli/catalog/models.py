"""`pancode endpoints` and `pancode models`: the model servers that your machines reach, and their models."""

from __future__ import annotations

from typing import Annotated, Any

from pancode.caller import folder
from pancode.cli.catalog.vendors import show_vendors
from pancode.cli.output.render import advice, safe, size, tokens
from pancode.cli.output.tables import table
from pancode.cli.parsing import completions, options
from pancode.cli.parsing.lazy import Commands
from pancode.cli.parsing.params import Json, option
from pancode.errors import UsageError

app = Commands()

_NONE = """no model server was found
  On each machine PanCode looks at the usual ports of 127.0.0.1: Ollama, LM Studio, llama.cpp, vLLM, SGLang.
  One elsewhere: write {"endpoints": [{"name": "gpu", "url": "http://10.0.0.5:8000"}]} into endpoints.json in
  a node's home (~/.pancode-node/*/), or PANCODE_LOCAL_MACHINES=10.0.0.5:8000 before `pancode fleet up`.
  Machines look every half minute: what was started just now is seen then.
"""


@app.verb("endpoints", "pancode endpoints", "pancode endpoints --node gpubox")
def endpoints(
    *,
    node: options.Node = None,
    face: Json,
) -> None:
    """Show the model servers that your machines reach: their kinds, health and APIs."""
    answer: dict[str, Any] = face.client().get("/v1/endpoints", node=node)
    face.show(answer, lambda: _endpoints(answer["endpoints"]))


@app.group(
    "models",
    "pancode models",
    "pancode models test qwen3-coder:30b",
    default="ls",
    table={"test": ("catalog.exams", "what a model can do for an agent, found out by asking it")},
)
def models() -> None:
    """The models of your own servers, and what each can do for an agent."""


@models.verb("ls", "pancode models", "pancode models --runtime claude --tier mid")
def list_models(
    *,
    node: options.Node = None,
    tier: Annotated[str | None, option("Show only this tier: frontier, mid or small.", "T")] = None,
    runtime: Annotated[
        str | None,
        option(
            "Show vendors' models for this runtime instead, with prices.", "R", complete=completions.runtimes
        ),
    ] = None,
    face: Json,
) -> None:
    """The models of your own servers, or of vendors (--runtime).

    CONTEXT: tokens that a call gets now, of those that the model was trained for. The list of vendors' models
    needs no network and is as new as this PanCode: one that is not on it can be named all the same.
    """
    if runtime is not None and node is not None:
        raise UsageError("--node is about your own servers, --runtime about vendors", fix="leave one out")
    if runtime is not None:
        return show_vendors(face, runtime, tier)
    answer: dict[str, Any] = face.client().get("/v1/models", cwd=folder(), node=node, tier=tier)
    face.show(answer, lambda: _models(answer["models"], tier))


def _endpoints(found: list[dict[str, Any]]) -> str:
    if not found:
        return _NONE
    head = ("NODE", "ENDPOINT", "KIND", "AT", "STATE", "SLOTS", "MODELS", "SPEAKS", "COST", "SEEN")
    shown = table(head, [_endpoint(one) for one in found], toned=("STATE",))
    wrong = [one for one in found if one["health"] != "ok"]
    lines = "".join(
        f"  {one['node']}/{one['name']}: {safe(one['words'])}\n    {advice(one)}\n" for one in wrong
    )
    return shown + lines


def _endpoint(one: dict[str, Any]) -> tuple[object, ...]:
    version = f" {one['version']}" if one["version"] else ""
    free = "?" if one["slots_free"] is None else one["slots_free"]
    slots = "?" if one["slots"] is None else f"{free}/{one['slots']} free"
    return (
        one["node"],
        one["name"],
        f"{one['dialect']}{version}",
        one["at"],
        one["health"],
        slots,
        len(one["models"]) + one["more"],
        ", ".join(one["wires"]),
        "none" if one["free"] else "unknown",
        f"{one['age_ms'] / 1000:.0f} s ago",
    )


def _models(found: list[dict[str, Any]], tier: str | None) -> str:
    if not found:
        return f"no model of the tier {tier}; all of them: pancode models\n" if tier else _NONE
    head = ("MODEL", "TIER", "SIZE", "QUANT", "CONTEXT", "STATE", "DISK", "TOOLS", "VISION", "TESTED")
    return table(head, [_model(one) for one in found])


def _model(one: dict[str, Any]) -> tuple[object, ...]:
    usable, trained = tokens(one["ctx_usable"]) or "?", tokens(one["ctx_max"]) or "?"
    return (
        one["ref"],
        "no words (vectors)" if one["embedding"] else one["tier"] or "?",
        _parameters(one["parameters"]),
        one["quantisation"] or "?",
        f"{usable} of {trained}",
        "elsewhere, it costs" if one["remote"] else one["residence"] or "?",
        size(one["size"]),
        _yes(one["tools"]),
        _yes(one["vision"]),
        "-" if one["embedding"] else _tested(one["passport"]),
    )


def _tested(passport: dict[str, Any] | None) -> str:
    """The result of its test: the first check that failed, or its speed."""
    if passport is None or passport["passed"] is None:
        return "not yet"
    if passport["passed"]:
        return "passed" if passport["tok_s"] is None else f"passed, {passport['tok_s']:.0f} tok/s"
    return f"failed: {next(one['check'] for one in passport['checks'] if one['grade'] == 'failed')}"


def _parameters(number: int | None) -> str:
    if number is None:
        return "?"
    return f"{number / 10**9:.1f} B" if number >= 10**8 else f"{number / 10**6:.1f} M"


def _yes(known: bool | None) -> str:
    return "?" if known is None else "yes" if known else "no"
