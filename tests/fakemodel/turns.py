"""Picks the script's turn for a model request, makes its faults happen, or sends it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .plan import Plan
from .replies import error_body
from .tools import resolve_calls
from .wires import Req

if TYPE_CHECKING:
    from .handler import Handler
    from .script import Script
    from .state import State

Emit = Callable[["Handler", Req, Plan], None]


def run_turn(h: Handler, req: Req, emit: Emit) -> None:
    """Answer one model request."""
    script = h.state.script
    h.entry.update(_seen(req))
    if script.strict_models and script.model(req.model) is None:
        return h.send_json(error_body(req.wire, 404, _unknown_model(req)), 404)
    rule, idx, turn = script.pick(req)
    h.entry.update(rule=rule["name"], turn=idx)
    with _slot(h.state, script) as queued:
        h.entry["queued"] = queued
        fault = _due_fault(h, (rule["name"], idx), turn)
        if turn.get("latency"):
            h.pause(float(turn["latency"]))
        if not (fault and _answer_fault(h, req, fault)):
            plan = _plan(h, req, turn)
            plan.fault = fault
            emit(h, req, plan)


def _seen(req: Req) -> dict:
    return {
        "wire": req.wire,
        "model": req.model,
        "stream": req.stream,
        "tools": [t["name"] for t in req.tools],
        "assistant_turns": req.assistant_turns,
        "tool_results": req.tool_results,
        "cwd_seen": req.cwd,
        "prompt_tail": req.user_text[-300:],
        "last_tool_result": req.last_tool_result[-600:],
    }


def _unknown_model(req: Req) -> str:
    own = {"ollama": f"model '{req.model}' not found", "anthropic": f"model: {req.model}"}
    return own.get(req.wire, f"The model `{req.model}` does not exist or you do not have access to it.")


@contextlib.contextmanager
def _slot(st: State, script: Script) -> Iterator[float]:
    """Hold one of the script's slots (0 = unlimited); gives the seconds waited for it."""
    t = time.time()
    with st.cond:
        st.waiting += 1
        while script.slots and st.busy >= script.slots:
            st.cond.wait(0.1)
        st.waiting -= 1
        st.busy += 1
        st.cond.notify_all()
    try:
        yield round(time.time() - t, 3)
    finally:
        with st.cond:
            st.busy -= 1
            st.cond.notify_all()


def _due_fault(h: Handler, key: tuple, turn: dict) -> dict:
    """The turn's fault, or {} when it has none or has hit often enough."""
    fault: dict = turn.get("fault") or {}
    if not fault or h.state.hit(key) >= fault.get("times", 1 << 30):
        return {}
    h.entry["fault"] = fault
    return fault


def _answer_fault(h: Handler, req: Req, fault: dict) -> bool:
    """Faults that replace the whole answer; True when one did."""
    if fault.get("hang"):
        h.pause(float(fault["hang"]))
    if fault.get("disconnect") == "before":
        h.kill("disconnect before headers")
    if "status" in fault:
        _refuse(h, req, fault)
    elif fault.get("garbage"):
        h.send_bytes(b'{"id": "broken", "choices": [', 200, "application/json")
    elif fault.get("stream_error") and not req.stream:  # same fault, asked for without a stream
        e = fault["stream_error"] if isinstance(fault["stream_error"], dict) else {}
        status = 529 if req.wire == "anthropic" else 500
        h.send_json(error_body(req.wire, status, e.get("message"), e.get("type")), status)
    else:
        return False
    return True


def _refuse(h: Handler, req: Req, fault: dict) -> None:
    headers = dict(fault.get("headers") or {})
    if "retry_after" in fault:
        headers["retry-after"] = fault["retry_after"]
    own = error_body(req.wire, fault["status"], fault.get("message"), fault.get("type"))
    h.send_json(fault.get("body") or own, fault["status"], headers)


def _plan(h: Handler, req: Req, turn: dict) -> Plan:
    calls = resolve_calls(turn, req, h.state.script)
    missing = [c["missing"] for c in calls if "missing" in c]
    text = "\n".join([t for t in [turn.get("text", "")] if t] + missing)
    calls = [c for c in calls if "missing" not in c]
    h.entry["calls"] = [{"name": c["name"], "arguments": c["arguments"]} for c in calls]
    plan = Plan(h, req, turn, text, calls)
    h.entry["usage"] = {"prompt": plan.usage.prompt, "output": plan.usage.output}
    return plan
