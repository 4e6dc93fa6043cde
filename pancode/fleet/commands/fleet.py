"""`pancode fleet`: bring nodes up, show them, drain them, take them down."""

from __future__ import annotations

import shlex
import time
from collections.abc import Container, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pancode import __version__
from pancode.agents.answers import AGENTS, EndpointShape, RuntimeFacts
from pancode.agents.commands.choices import is_local_only
from pancode.commit import UNKNOWN, read_commit
from pancode.fleet import answers
from pancode.fleet.commands.held import release_held
from pancode.interfaces.cli.output import Face, describe_caller, find_user
from pancode.interfaces.cli.parameters import Json, Nodes, Verbose, option, verb
from pancode.interfaces.cli.progress import Steps
from pancode.interfaces.cli.terminal import RowColumns, escape_lines, format_advice, format_rows
from pancode.interfaces.client.client import Client, ServerEvent, mark_down
from pancode.interfaces.client.connection import NotRunningError, Place
from pancode.kernel.errors import ApiError, ExitCode, UnavailableError, UsageError
from pancode.kernel.formatting import (
    count_noun,
    disk_of,
    escape_line,
    format_gpus,
    format_seconds,
    format_tokens,
    slots_of,
)
from pancode.reports.commands.events import show_watched
from pancode.runs.answers import PAUSE, HandedRun, HandoverShape, LaterSteps
from pancode.runs.answers import RESUME as RESUME_QUEUE

_TAKE = "Take the fleet back from the coordinator that has replaced this one."
_REPLACED = (
    "If you continue, a coordinator that still works is replaced at its next contact with a node; what this "
    "ledger has as pending is held until you decide (pancode fleet resume --held); and all API tokens, "
    "browser sessions and agreements end (new ones: pancode admin tokens --create NAME, pancode web)."
)


@verb("fleet up", "", "gpubox", "--take")
def up(
    nodes: Nodes,
    *,
    take: Annotated[bool, option(_TAKE)] = False,
    yes: Annotated[bool, option("Do not ask before a restored or replaced coordinator leads.")] = False,
    verbose: Verbose = False,
    face: Json,
) -> int:
    """Start the coordinator if needed; install, start and check node agents; print the readiness table.

    Without NODES: all nodes of the inventory, or this machine if there are none. Repeating it changes
    nothing.

    A home that was restored, by any way, only answers what reads. In such a home this command says from when
    its ledger is and when nodes were last in contact with a coordinator, asks once, and then takes the fleet
    up: a coordinator that still works is replaced, and what it did meanwhile is not in this ledger.
    """
    client = face.client(works=True)
    modes = ("held", "fenced") if take else ("held",)
    try:
        answer = start_nodes(face, client, nodes, modes if yes else (), verbose=verbose)
    except ApiError as held:
        if held.code not in ("fleet_held", "fenced")[: len(modes)]:
            raise
        command = shlex.join(("pancode", "fleet", "up", *nodes, *(["--take"] if take else []), "--yes"))
        if not face.confirm(escape_line(f"{held.why}. {_REPLACED} Take the fleet up here?"), command):
            raise UsageError("the fleet was not taken up", fix=command, code="not_confirmed") from held
        answer = start_nodes(face, client, nodes, modes, verbose=verbose)
    failed = {one["node"] for one in answer["results"] if not one["ok"]}
    face.show(answer, lambda: _format_status(answer, failed) + _format_problems(answer["results"]))
    for trouble in answer["coordinator"]["closed"]:
        face.note(escape_line(f"{trouble['what']}: {trouble['why']}; fix: {trouble['fix']}"))
    if other := _other_code(answer["coordinator"]):
        face.note(f"this command is {other}; to switch: pancode fleet down, pancode fleet up")
    for node, runtime, agents in missing_programs(client.get(AGENTS)["agents"], answer["nodes"]):
        command = f"pancode node install {node} {runtime}"
        face.note(f"no node has {runtime}, which {', '.join(agents)} requires: {command}")
        if face.can_ask() and face.confirm(f"install {runtime} on {node} now?", command):
            from pancode.interfaces.cli.main import run

            run(["node", "install", node, runtime])
    return _exit(answer["results"])


def missing_programs(
    agents: list[dict[str, Any]], nodes: list[answers.NodeShape]
) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (online node, program, agents) for each program that agents require and no online node has."""
    there = [one for one in nodes if one["state"] == "online"]
    found = [{fact["name"]: fact["state"] for fact in one["runtimes"]} for one in there]
    missing = dict[str, list[str]]()
    for agent in agents:
        if agent["enabled"] and agent["runtime"]:
            missing.setdefault(agent["runtime"], []).append(agent["name"])
    for runtime, names in sorted(missing.items()):
        if found and all(states.get(runtime) == "missing" for states in found):
            yield there[0]["name"], runtime, names


def start_nodes(
    face: Face, client: Client, nodes: list[str], take_up: tuple[str, ...] = (), *, verbose: bool = False
) -> answers.UpAnswer:
    """Bring up these nodes, or all if `nodes` is empty, and show the progress of each. `take_up`: the modes
    in which the coordinator is to lead from now on."""
    body = {**describe_caller(), "nodes": nodes, "take_up": take_up}
    answer: answers.UpAnswer = show_steps(face, client.events("POST", "/v1/fleet/up", body), verbose=verbose)
    return answer


def bring_up(face: Face, client: Client, nodes: list[str], *, verbose: bool = False) -> bool:
    """Start these nodes for a run that waits for one; return whether one of them accepts work now."""
    answer = start_nodes(face, client, nodes, verbose=verbose)
    for one in answer["results"]:
        if one["ok"]:
            face.note(f"started {one['node']} in {format_seconds(one['seconds'])}")
    if troubles := _format_problems([one for one in answer["results"] if not one["ok"]]):
        face.note(troubles.rstrip())
    return any(one["ok"] for one in answer["results"])


def show_steps(face: Face, events: Iterator[ServerEvent], *, verbose: bool = False) -> Any:
    """Show the progress of each node as it happens; return the result of the long call."""
    try:
        with Steps(face, verbose=verbose) as shown:
            for event in events:
                if event.kind == "progress":
                    shown.show(event.data)
                elif event.kind == "result":
                    return event.data
    except KeyboardInterrupt:
        face.note("\ndetached; the coordinator continues.  to see the nodes: pancode node ls")
        raise
    fix = "run the same command again to continue"
    raise UnavailableError("the coordinator stopped before the command was finished", fix=fix)


def _exit(results: list[answers.NodeResultShape]) -> int:
    """Return the exit status: 20 where some nodes failed, 6 where all did."""
    failed = [r for r in results if not r["ok"]]
    if not failed:
        return ExitCode.DONE
    return ExitCode.UNAVAILABLE if len(failed) == len(results) else ExitCode.PARTIAL


def _format_problems(results: list[answers.NodeResultShape]) -> str:
    """Return the problems of a bring-up with their fixes, without those that the status table shows."""
    lines = []
    for result in results:
        for problem in result["problems"]:
            lines.append(f"  {result['node']}: {problem['what']}")
            lines += [f"          fix: {problem['fix']}"] if problem["fix"] else []
    return escape_lines(lines)


@verb("node ls", "--watch")
def status(
    *,
    watch: Annotated[bool, option("Show the status again after each change, until Ctrl-C.")] = False,
    face: Json,
) -> None:
    """Show the coordinator and every node: state, slots, labels, agent programs, models."""
    client = face.client()
    show_watched(face, client, lambda: client.get(answers.FLEET), _format_fleet, watches=watch)


def _format_fleet(answer: answers.FleetShape) -> str:
    info = answer["coordinator"]
    text = f"coordinator  pid {info['pid']}  {info['version']}  fleet {info['fleet']}  home {info['home']}\n"
    text += f"             {info['after_reboot']}\n" if info["after_reboot"] else ""
    text += f"             api at {info['api']}\n" if info["api"] else ""
    if other := _other_code(info):
        text += f"             this command is {other}; to switch: pancode fleet down, pancode fleet up\n"
    own = [one for one in (info["trouble"], info["clock"]) if one is not None]
    for trouble in [*own, *info["closed"]]:
        text += f"             {escape_line(trouble['what'])}: {escape_line(trouble['why'])}\n"
        text += f"             fix: {escape_line(trouble['fix'])}\n"
    for word, why in (("paused", info["paused"]), ("draining", info["draining"])):
        text += f"             {word}: {escape_line(why)}\n" if why else ""
    return text + _format_status(answer)


def _other_code(info: answers.ProcessShape) -> str:
    """Return this command's version or commit if the coordinator runs other code; empty if it is the same."""
    if info["version"] != __version__:
        return __version__
    mine, its = _commit(), info["commit"]
    return f"at commit {mine}, the coordinator at {its}" if UNKNOWN not in (mine, its) and mine != its else ""


_commit = cache(read_commit)


def _format_status(answer: answers.FleetShape, failed: Container[str] = ()) -> str:
    """Return the readiness table, with each problem and its fix below its node.

    `failed`: nodes whose bring-up has just failed and reported why; their last known state is not shown.
    """
    add = "add this machine: pancode node add NAME --local; or another: pancode node add NAME"
    nodes = list[answers.NodeShape]()
    for one in answer["nodes"]:
        nodes.append({**one, "state": "unknown", "problems": []} if one["name"] in failed else one)
    below = [list(_list_problems(node)) for node in nodes]
    columns = _NODES if any(map(format_gpus, nodes)) else {k: v for k, v in _NODES.items() if k != "GPUS"}
    spare = ("CLOCK", "DISK", "LABELS", "ISOLATION", "AGENT")
    return format_rows(nodes, columns, f"the fleet has no nodes; {add}", below=below, spare=spare)


def _list_problems(node: answers.NodeShape) -> Iterator[str]:
    for fact in node["runtimes"]:
        if fact["old"]:
            yield escape_line(f"        {fact['name']} {fact['version'] or ''} is old, {fact['old']}")
    for problem in node["problems"]:
        yield f"        {escape_line(problem['what'])}"
        if hint := format_advice(problem):
            yield f"        {hint}"


def format_labels(node: answers.NodeShape) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted(node["labels"].items()))


def format_clock_skew(node: answers.NodeShape) -> str:
    """Format how far the node's clock differs from the coordinator's."""
    skew = node["clock_skew_s"]
    return "-" if skew is None else f"{skew:+.1f} s"


_NODES: RowColumns[answers.NodeShape] = {
    **{"NODE": "name", "STATE": "state", "AGENT": "version", "SLOTS": slots_of},
    "LABELS": format_labels,
    "RUNTIMES": lambda node: ", ".join(map(runtime_words, filter(is_usable, node["runtimes"]))),
    "ENDPOINTS": lambda node: ", ".join(map(endpoint_words, node["endpoints"])),
    "GPUS": format_gpus,
    **{"ISOLATION": "isolation", "DISK": disk_of, "CLOCK": format_clock_skew},
}
_NOW = "Do not ask, even if runs are in flight; they continue and deliver later."


def endpoint_words(fact: EndpointShape) -> str:
    """Format the server with its first model, preferably a loaded one; tables show its problems elsewhere."""
    if fact["health"] != "ok":
        return f"{fact['name']} {fact['health'].upper()}"
    able = [one for one in fact["models"] if not one["embedding"]]
    if not able:
        return f"{fact['name']}: no model"
    others = len(able) - 1 + fact["more"]
    shown = f"{fact['name']}: {able[0]['id']} {format_tokens(able[0]['ctx_usable'])}".rstrip()
    return f"{shown}, +{others}" if others else shown


def is_usable(fact: RuntimeFacts) -> bool:
    """Return whether tables show the program: not the test double, and not `native` without a model."""
    needs_model = fact["name"] == "native" and fact["state"] == "not_logged_in" and not fact["served"]
    return fact["state"] != "missing" and fact["name"] != "scripted" and not needs_model


def runtime_words(fact: RuntimeFacts) -> str:
    version = f" {fact['version']}" if fact["version"] else ""
    good = fact["state"] == "ok" or is_local_only(fact)
    state = "" if good else f" {fact['state'].replace('_', ' ').upper()}"
    state += " OLD" if fact["old"] else ""
    return f"{fact['name']}{version}{state}"


@verb("fleet down", "--now")
def down(nodes: Nodes, *, now: Annotated[bool, option(_NOW)] = False, face: Json) -> int:
    """Stop node agents and the coordinator (with NODES: only those node agents).

    The fleet stays down, even if a command waits for or shows it, until `pancode fleet up`, `serve`,
    `dispatch`, `runs retry` or `node add`.
    """
    client = face.client(starts=False)
    try:
        answer = take_down(face, client, nodes, now=now)
    except NotRunningError:
        return _report_no_coordinator(face, client.place, whole=not nodes)
    except ApiError as error:
        question = f"{error} ({error.why}). Go down?"
        if error.code != "runs_in_flight" or not face.confirm(question, "pancode fleet down --now"):
            raise
        answer = take_down(face, client, nodes, now=True)
    shown, words = {**answer, "stopped": not nodes}, "" if nodes else "stopped\n"
    return face.end(_exit(answer["results"]), shown, lambda: _format_problems(answer["results"]) + words)


def _report_no_coordinator(face: Face, home: Place, whole: bool) -> int:
    """Report that no coordinator runs, and stop a Valkey that a killed coordinator left on this machine."""
    pid, where = None, f"on {home}"
    if isinstance(home, Path):
        from pancode.app.server.leftovers import end_left

        pid, where = end_left(home), "here"
        if whole and home.is_dir():
            mark_down(home, find_user())
    words = f"; its Valkey, pid {pid}, was still running and has been stopped" if pid is not None else ""
    answer = {"results": [], "stopped": False, "left_behind": pid}
    return face.end(ExitCode.DONE, answer, lambda: f"no coordinator is running {where}{words}\n")


def take_down(
    face: Face, client: Client, nodes: Sequence[str] = (), *, now: bool = False
) -> answers.DownAnswer:
    """Stop these nodes, or the whole fleet, without asking. ApiError `runs_in_flight` unless `now`."""
    body = {**describe_caller(), "nodes": nodes, "now": now}
    answer: answers.DownAnswer = show_steps(face, client.events("POST", "/v1/fleet/down", body))
    if not nodes:
        _shut_down(client)
    return answer


def _shut_down(client: Client) -> None:
    """Shut the coordinator down and wait until its process has ended; UnavailableError after 60 s."""
    from pancode.kernel.host.single_instance import holder_of

    process = holder_of(client.place) if isinstance(client.place, Path) else None
    client.post(answers.SHUTDOWN, {"by": find_user()})
    for _ in range(600):
        if _is_away(client) and (process is None or not process.alive()):
            return
        time.sleep(0.1)
    raise UnavailableError(
        "the coordinator did not stop", fix=f"for details: {client.place}/run/coordinator.log"
    )


def _is_away(client: Client) -> bool:
    """Return whether nothing answers on the socket and no coordinator process remains on this machine."""
    try:
        client.get(answers.PING)
    except UnavailableError as away:
        home = client.place
        return (
            not (home / "api.sock").exists() if isinstance(home, Path) else isinstance(away, NotRunningError)
        )
    return False


Queue = Annotated[bool, option("NODES is the name of one queue of runs, or empty for every queue.")]


@verb("fleet drain", "gpubox --reason 'new disk'", "--queue pool.any --reason 'disk full'")
def drain(
    nodes: Nodes,
    *,
    queue: Queue = False,
    reason: Annotated[str, option("The reason, shown to users whose runs wait.")] = "",
    face: Json,
) -> None:
    """Start nothing new on NODES (default: the whole fleet); current runs continue."""
    if queue:
        name = _queue_of(nodes)
        paused = face.post(PAUSE, {"queue": name, "reason": reason})
        who = name or "the whole fleet"
        return face.show(paused, lambda: f"{who} is paused: {escape_line(paused['paused'] or '')}\n")
    if not reason.strip():
        fix = "give a reason for the users whose runs wait: --reason 'new disk'"
        raise UsageError("--reason must not be empty", fix=fix)
    answer = face.post(answers.DRAIN, {"nodes": nodes, "reason": reason})
    there = ", ".join(answer["nodes"]) or "the fleet"
    return face.show(answer, lambda: f"draining {there}: {escape_line(reason)}\n")


def _queue_of(names: list[str]) -> str | None:
    if len(names) > 1:
        raise UsageError("--queue takes only one queue", fix=f"pancode fleet drain --queue {names[0]}")
    return names[0] if names else None


_LOOKS, _LOOK_S = 60, 0.5


@verb("admin handover", "")
def handover(face: Json) -> int:
    """Hand waiting runs over to the nodes, which start them without this machine; list what stays, and why.

    A few runs for each slot are always handed over. Before you close this machine, this command sends the
    rest, and waits up to half a minute until the nodes confirm. Finished runs are landed and failed ones are
    retried when this machine is back. Exit code 6 while a node has not confirmed its share.
    """
    answer = face.post(answers.HANDOVER)
    for _ in range(1, _LOOKS):
        if all(one["there"] for one in answer["handed"]):
            break
        time.sleep(_LOOK_S)
        answer = face.post(answers.HANDOVER)
    face.show_result(answer, handed_over)
    return int(ExitCode.DONE if all(one["there"] for one in answer["handed"]) else ExitCode.UNAVAILABLE)


_HANDED: RowColumns[HandedRun] = {
    **{"RUN": "run", "NODE": "node", "": lambda one: "" if one["there"] else "being sent"},
    "WAITS": "why",
}


def handed_over(answer: HandoverShape) -> str:
    """Format which runs continue without this machine, which do not, and which no node has confirmed yet."""
    handed, stays = answer["handed"], answer["stays"]
    coming = sum(not one["there"] for one in handed)
    text = f"{answer['at_work']} running, {len(handed)} waiting on nodes, "
    text += f"{len(stays)} here\n"
    if handed:
        text += "\n" + format_rows(handed, _HANDED)
    if stays:
        text += "\nstay here:\n" + format_rows(stays, {"RUN": "run", "WHY": "why", "TASK": "task"})
    if answer["later"]:
        rows: RowColumns[LaterSteps] = {"WORKFLOW": "workflow", "NAME": "name", "STEPS": "steps"}
        text += "\nlater steps, which start when this machine is back:\n" + format_rows(answer["later"], rows)
    if coming:
        why = f"{count_noun(coming, 'run')} being sent, not yet confirmed by a node"
        text += f"\n{why}; check again: pancode admin handover\n"
    return text


@verb("fleet resume", "gpubox", "--queue pool.any", "--held", "--held r-7k2m9x", "--held --all")
def resume(
    nodes: Nodes,
    *,
    queue: Queue = False,
    held: Annotated[bool, option("List what is held since a restore, or start the named items.")] = False,
    drop: Annotated[bool, option("With --held: drop the items instead.")] = False,
    everything: Annotated[bool, option("With --held: all items.", "--all")] = False,
    face: Json,
) -> None:
    """Take NODES (default: the whole fleet) back into service; named nodes also leave quarantine.

    After a restore, what the restored ledger has as pending begins nothing, as it may have been done after
    the copy was taken. `--held` lists it with what the nodes say; then start or drop items by name, or all.
    """
    if held:
        return release_held(face, nodes, drop, everything)
    if queue:
        name = _queue_of(nodes)
        again = face.post(RESUME_QUEUE, {"queue": name})
        return face.show(again, lambda: f"{name or 'the whole fleet'} is no longer paused\n")
    answer = face.post(answers.RESUME, {"nodes": nodes})
    let_in = "".join(f"{name} is out of quarantine\n" for name in answer.get("let_in", ()))
    return face.show(answer, lambda: f"{let_in}in service: {', '.join(answer['nodes']) or 'the fleet'}\n")


def check_nodes(face: Face, nodes: list[str]) -> int:
    """Contact these nodes, or all; repair what bring-up can repair, and list other problems with fixes."""
    answer = face.client().post(answers.DOCTOR, {**describe_caller(), "nodes": nodes})
    columns: RowColumns[answers.CheckLine] = {
        **{"NODE": "node", "": lambda one: "ok" if one["ok"] else "NO"},
        **{"WHAT": "what", "FIX": format_advice},
    }
    face.show(answer, lambda: format_rows(answer["checks"], columns, "no node in the fleet"))
    return ExitCode.DONE if all(c["ok"] for c in answer["checks"]) else ExitCode.PARTIAL
