"""Describes the model server of a placed run, as its node reports it at that moment. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pancode.agents.model_profiles import ModelPlace, Trust, fact_of, judge_passport
from pancode.kernel.node import NodeView
from pancode.kernel.records import Run

_VERDICTS = {Trust.GOOD: "passed", Trust.FAILED: "failed", Trust.UNTESTED: "not tested"}
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def describe_server(run: Run, view: NodeView, wall_ms: int) -> dict[str, Any]:
    """Return plain JSON, kept with the run; empty where its model is on no endpoint, or not reported."""
    if run.endpoint is None or run.model is None:
        return {}
    about = _served(ModelPlace(view.node.name, run.endpoint, run.model), run, view, wall_ms)
    return {**about, "words": _in_words(about)}


def _served(place: ModelPlace, run: Run, view: NodeView, wall_ms: int) -> dict[str, Any]:
    found = fact_of(place, (view,))
    if found is None:
        return {"node": place.node, "endpoint": place.endpoint, "model": place.model}
    endpoint, model = found
    judgement = judge_passport(model.passport, run.read_only)
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
    """Say it on one line for users; what a node did not report is named as unknown."""
    if "at" not in about:
        return "its machine reported nothing about this model when the run was placed"
    usable, most = (about[key] or "?" for key in ("ctx_usable", "ctx_max"))
    free, slots = ("?" if about[key] is None else about[key] for key in ("slots_free", "slots"))
    parts = (
        f"at {about['at']}: context {usable} of {most} tokens",
        about["residence"] or "loaded or not is unknown",
        f"{free} of {slots} slots free",
        _test_words(about["test"]),
    )
    return ", ".join(parts)


def _test_words(test: Mapping[str, Any]) -> str:
    if test["age_ms"] is None:
        return "not tested" if test["asked"] else "not tested, as --untested says"
    words = f" ({test['words']})" if test["words"] else ""
    over = "" if test["asked"] else ", which --untested passes over"
    return f"test {test['verdict']}{words} {_ago(test['age_ms'])}{over}"


def _ago(ms: int) -> str:
    seconds = ms // 1000
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
