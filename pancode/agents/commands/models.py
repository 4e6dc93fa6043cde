"""`pancode models`: the model servers that your nodes reach, and their models."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pancode.agents.answers import ENDPOINTS, MODELS, ModelShape, NodeEndpoint, PassportShape
from pancode.interfaces.cli.parameters import Argument, Json, completions, option, verb
from pancode.interfaces.cli.terminal import Columns, RowColumns, format_advice, format_rows, short_time
from pancode.interfaces.client.caller import find_folder, find_user
from pancode.interfaces.client.client import home_of
from pancode.interfaces.client.retry import run_model_tests
from pancode.kernel.errors import ExitCode, UsageError
from pancode.kernel.formatting import escape_line, format_bytes, format_tokens

_NONE = """no model server was found
  Each node checks the usual ports of 127.0.0.1: Ollama, LM Studio, llama.cpp, vLLM, SGLang.
  For another address: add {"endpoints": [{"name": "gpu", "url": "http://10.0.0.5:8000"}]} to endpoints.json
  in a node's home (~/.pancode-node/*/), or PANCODE_LOCAL_MACHINES=10.0.0.5:8000 before `pancode fleet up`.
  Nodes check every half minute; a server that was just started appears after that.
"""


_RUNTIME = "Show vendors' models for this runtime instead, with prices."
_SERVERS = "Show the model servers that your nodes reach: kinds, health and APIs."


@verb("models ls", "pancode models --runtime claude --tier mid", "--servers")
def list_models(
    *,
    node: Annotated[str | None, option("Only this node.")] = None,
    tier: Annotated[str | None, option("Show only this tier: frontier, mid or small.", "T")] = None,
    runtime: Annotated[str | None, option(_RUNTIME)] = None,
    servers: Annotated[bool, option(_SERVERS)] = False,
    face: Json,
) -> None:
    """List the models of your own servers, or of vendors (--runtime).

    CONTEXT: tokens available to a call now, of the model's maximum. The list of vendors' models is part of
    this PanCode release and needs no network; you can also use models that are not on it.
    """
    if runtime is not None and node is not None:
        raise UsageError("--node and --runtime cannot be combined", fix="omit one of them")
    if servers:
        reached = face.get(ENDPOINTS, node=node)
        return face.show(reached, lambda: _format_endpoints(reached["endpoints"]))
    if runtime is not None:
        from node_agent.wire.clock import SystemClock
        from pancode.config.vendor_models import models_of

        rows = models_of(runtime, tier, home_of(os.environ), os.environ, SystemClock().wall_ms())
        return face.show({"models": rows}, lambda: format_rows(rows, _VENDORS))
    answer = face.get(MODELS, cwd=find_folder(), node=node, tier=tier)
    return face.show(answer, lambda: _format_models(answer["models"], tier))


def _format_endpoints(found: list[NodeEndpoint]) -> str:
    if not found:
        return _NONE
    text = format_rows(found, _ENDPOINTS)
    for one in (one for one in found if one["health"] != "ok"):
        text += f"  {one['node']}/{one['name']}: {escape_line(one['words'])}\n    {format_advice(one)}\n"
    return text


def _format_slots(one: NodeEndpoint) -> str:
    free = "?" if one["slots_free"] is None else one["slots_free"]
    return "?" if one["slots"] is None else f"{free}/{one['slots']} free"


_ENDPOINTS: RowColumns[NodeEndpoint] = {
    **{"NODE": "node", "ENDPOINT": "name"},
    "KIND": lambda one: f"{one['dialect']} {one['version'] or ''}".rstrip(),
    **{"AT": lambda one: one["at"], "STATE": "health", "SLOTS": _format_slots},
    **{"MODELS": lambda one: len(one["models"]) + one["more"], "SPEAKS": "wires"},
    **{"COST": lambda one: "none" if one["free"] else "unknown"},
    "SEEN": lambda one: f"{one['age_ms'] / 1000:.0f} s ago",
}


def _format_models(found: list[ModelShape], tier: str | None) -> str:
    if not found:
        return f"no models of tier {tier}; to list all models: pancode models\n" if tier else _NONE
    return format_rows(found, _MODELS)


def _format_test(passport: PassportShape) -> str:
    """Return the result of the model's test: with the first failed check."""
    if passport["passed"] is None:
        return "not yet"
    if passport["passed"]:
        return "passed"
    return f"failed: {next(one['check'] for one in passport['checks'] if one['grade'] == 'failed')}"


def _format_parameters(number: int | None) -> str:
    if number is None:
        return "?"
    return f"{number / 10**9:.1f} B" if number >= 10**8 else f"{number / 10**6:.1f} M"


def _format_yes(known: bool | None) -> str:
    return "?" if known is None else "yes" if known else "no"


def _format_context(one: ModelShape) -> str:
    return f"{format_tokens(one['ctx_usable']) or '?'} of {format_tokens(one['ctx_max']) or '?'}"


_MODELS: RowColumns[ModelShape] = {
    "MODEL": "ref",
    "TIER": lambda one: "embeddings only" if one["embedding"] else one["tier"] or "?",
    "SIZE": lambda one: _format_parameters(one["parameters"]),
    **{"QUANT": lambda one: one["quantisation"] or "?", "CONTEXT": _format_context},
    "STATE": lambda one: "remote, costs money" if one["remote"] else one["residence"] or "?",
    **{"DISK": lambda one: format_bytes(one["size"]), "TOOLS": lambda one: _format_yes(one["tools"])},
    "VISION": lambda one: _format_yes(one["vision"]),
    "TESTED": lambda one: "-" if one["embedding"] else _format_test(one["passport"]),
}


_VENDORS: Columns = {
    **{"MODEL": "model", "TIER": "tier", "CONTEXT": "context", "$/M IN": lambda one: one["input_usd"]},
    **{"CACHED": lambda one: one["cached_usd"], "OUT": lambda one: one["output_usd"]},
}
_NODE = "Test only on this node (default: on each node that has the model)."


@verb("models test", "qwen3-coder:30b", "gpubox/ollama/qwen3-coder:30b --again")
def test_model(
    model: Annotated[str, Argument(autocompletion=completions.models)],
    *,
    node: Annotated[str | None, option(_NODE)] = None,
    again: Annotated[bool, option("Repeat the test of a model that was already tested.")] = False,
    face: Json,
) -> int:
    """Test a local MODEL: whether it answers, how long a prompt it reads, and whether it calls tools.

    The test takes up to 60 s; loading the model first may take minutes. The first dispatch to a model runs
    this test itself if the model is free. Exit code 5 if a check fails.
    """
    body = {"by": find_user(), "model": model, "node": node, "again": again}
    tests = run_model_tests(face.note, face.client(), body)
    face.show({"tests": tests}, lambda: "".join(map(_test_result, tests)))
    return _exit_of_tests(tests)


def _exit_of_tests(tests: list[dict[str, Any]]) -> int:
    """Return the exit status of these tests; a failed check outranks a test that could not run."""
    if any(one["passed"] is False for one in tests):
        return ExitCode.REFUSED
    return ExitCode.UNAVAILABLE if any(one["passed"] is None for one in tests) else ExitCode.DONE


def _test_result(one: dict[str, Any]) -> str:
    head = f"{one['node']}/{one['endpoint']}/{one['model']}: "
    if one["passed"] is None:
        fix = f"  fix: {one['fix']}\n" if one["fix"] else ""
        return f"{head}could not be tested: {one['words']}\n{fix}"
    earlier = f" at {short_time(one['taken_at'])}; not repeated (use --again to repeat)"
    text = f"{head}{'passed' if one['passed'] else 'FAILED'}{earlier if one['earlier'] else ''}\n"
    text += format_rows(one["checks"], {"CHECK": "check", "RESULT": "grade", "WORDS": "words"})
    return text + "".join(f"  {hint}\n" for hint in map(format_advice, one["checks"]) if hint)
