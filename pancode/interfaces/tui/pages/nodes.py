"""Pages of the nodes, of one node, and of its models."""

from __future__ import annotations

from pancode.interfaces.tui.page import Json, Line, Page, PageMoment, PagePlace, PageRow, make_fact_line
from pancode.interfaces.tui.pages.summary import list_troubles
from pancode.kernel.formatting import (
    SILENT_STATES,
    disk_of,
    escape_line,
    format_bytes,
    format_gpus,
    format_tokens,
    slots_of,
    style_of,
)


def draw_nodes(answers: Json, about: str, moment: PageMoment) -> Page:
    """The nodes with their slots, programs and models, as they were heard."""
    has_gpus = any(map(format_gpus, answers["fleet"]["nodes"]))
    rows = tuple(
        PageRow(
            node["name"], "node",
            (
                node["name"], node["state"], format_heard(node, moment), slots_of(node), _runtimes(node),
                _models(node), *([format_gpus(node)] if has_gpus else ()), node["isolation"] or "",
                format_bytes(node["disk_free"]), _problem(node),
            ),
            node, PagePlace("node", node["name"]),
        )
        for node in answers["fleet"]["nodes"]
    )  # fmt: skip
    gpus = ("GPUS",) if has_gpus else ()
    head = ("NODE", "STATE", "HEARD", "SLOTS", "RUNTIMES", "MODELS", *gpus, "ISOLATION", "DISK", "PROBLEM")
    empty = "no node in the fleet; add one: pancode node add NAME"
    cut = ("ISOLATION", "DISK", "MODELS", *gpus, "RUNTIMES")
    return Page(list_troubles(answers), head, rows, cut, "PROBLEM", empty)


def format_heard(node: Json, moment: PageMoment) -> str:
    """Return `now`, `never`, or how long the machine was not heard."""
    if node["state"] in SILENT_STATES:
        return f"not heard for {moment.ago(node['since'])}"
    return "never" if node["state"] == "new" else "now"


def _runtimes(node: Json) -> str:
    return ", ".join(one["name"] for one in node["runtimes"] if one["state"] == "ok")


def _models(node: Json) -> str:
    return ", ".join(one["id"] for endpoint in node["endpoints"] for one in endpoint["models"])


def _problem(node: Json) -> str:
    found = node["problems"]
    more = f" (+{len(found) - 1})" if len(found) > 1 else ""
    return f"{found[0]['what']}{more}" if found else ""


def draw_node(answers: Json, about: str, moment: PageMoment) -> Page:
    """One machine: its state, each problem with its fix, its programs and model servers."""
    node = answers["node"]
    state = node["state"]
    lines: list[Line] = [((escape_line(node["name"]), "bold"), ("  ", ""), (state, style_of(state)))]
    lines += [
        make_fact_line(
            "heard", f"{format_heard(node, moment)} (in this state since {moment.at(node['since'])})"
        ),
        make_fact_line("slots", f"{slots_of(node)} used"),
        make_fact_line("version", node["version"] or "-"),
        make_fact_line("wall", node["isolation"] or "-"),
        make_fact_line("disk", f"free: {disk_of(node)}"),
        *([make_fact_line("GPUs", format_gpus(node))] if format_gpus(node) else []),
        make_fact_line("labels", ", ".join(f"{key}={value}" for key, value in node["labels"].items()) or "-"),
        make_fact_line("reached", _reach(node["target"])),
    ]
    lines += [
        make_fact_line(word, node[word], "yellow")
        for word in ("draining", "paused", "quarantined")
        if node[word]
    ]
    for problem in node["problems"]:
        fix = f"fix: {problem['fix']}" if problem.get("fix") else problem.get("says") or ""
        lines += [make_fact_line("problem", problem["what"], "red"), make_fact_line("", fix)]
    lines += [
        make_fact_line("runtime", _runtime(one)) for one in node["runtimes"] if one["state"] != "missing"
    ]
    for one in node["endpoints"]:
        lines.append(make_fact_line("endpoint", f"{one['name']} {one['health']} at {one['at']}"))
        lines += [
            make_fact_line("", f"{model['id']} {format_tokens(model['ctx_usable'])}")
            for model in one["models"]
        ]
    return Page(lines=tuple(lines), shape=node)


def _reach(way: Json) -> str:
    """Return how a node is reached, in one line: `ssh gpubox, 10.0.0.7, as ana, by way of bastion`."""
    target = way.get("target", {})
    if way.get("local") or not target.get("host"):
        return "this machine" if way.get("local") else "-"
    port = f":{target['port']}" if target["port"] not in (0, 22) else ""
    hops = ", ".join(hop["host"] for hop in target["hops"])
    words = (f"ssh {target['alias'] or target['host']}", f"{target['host']}{port}", f"as {target['user']}")
    return ", ".join(filter(None, (*words, f"by way of {hops}" if hops else "", target["proxy"])))


def _runtime(fact: Json) -> str:
    old = f"old, {fact['old']}" if fact.get("old") else ""
    return " ".join(filter(None, (fact["name"], fact["version"] or "", fact["state"], old)))


def draw_models(answers: Json, about: str, moment: PageMoment) -> Page:
    """The models of the nodes' own servers, with tier, context and test."""
    rows = tuple(
        PageRow(
            one["ref"], "model",
            (
                one["id"], one["tier"] or "unknown", format_tokens(one["ctx_usable"]), one["node"],
                one["endpoint"],
                _passport(one["passport"]), one["tier_why"],
            ),
            one, PagePlace("node", one["node"]),
        )
        for one in answers["models"]["models"]
    )  # fmt: skip
    head = ("MODEL", "TIER", "CTX", "NODE", "ENDPOINT", "TEST", "WHY THIS TIER")
    return Page((), head, rows, ("ENDPOINT",), "WHY THIS TIER", "no node serves a model of its own")


def _passport(passport: Json) -> str:
    return {True: "passed", False: "failed", None: "untested"}[passport["passed"]]
