"""`pancode node`: the inventory of nodes and their secrets; only this group asks to confirm host keys."""

from __future__ import annotations

import base64
import contextlib
import getpass
import hashlib
import os
import socket
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer
from typer import Argument

from pancode.agents.answers import RUNTIMES, NodeRuntime
from pancode.agents.commands.choices import is_local_only
from pancode.fleet import answers
from pancode.fleet.commands.fleet import endpoint_words, format_labels, runtime_words, show_steps
from pancode.interfaces.cli import completions
from pancode.interfaces.cli.commands import verb
from pancode.interfaces.cli.node_report import facts_after
from pancode.interfaces.cli.output import Face, describe_caller, find_user
from pancode.interfaces.cli.parameters import (
    Json,
    Label,
    Node,
    SlotBounds,
    many,
    option,
    parse_label,
    slot_bounds,
)
from pancode.interfaces.cli.terminal import color_state, escape_lines, format_advice, safe_block, short_time
from pancode.interfaces.client.client import Client, home_of, path_of
from pancode.interfaces.client.remote.place import remote_of
from pancode.kernel.errors import ApiError, ExitCode, PancodeError, UsageError
from pancode.kernel.formatting import escape_line, format_bytes
from pancode.kernel.names import not_found

_SPEC_FIELDS = ("host", "user", "port", "identity", "local", "local_home", "node_home")


_ADD_SLOTS = "Concurrent runs (default: nodes.slots, 4); 1-8: fewer when the node is under load."
_FLEET_KEY = (
    "Install the fleet's restricted SSH key there (only tunnels and PanCode's commands), to link without you."
)
_LABELS = "A label for --require; may be repeated."
_SET_LABELS = "Set or replace a label; may be repeated."
_SLOTS = "Concurrent runs; 1-8: fewer when the node is under load."
_GPUS = "Give the node's GPUs to every run (default), only to runs with --gpus, or to none."


@verb("node add", "gpubox --label gpu=24g --slots 2", "desk --local")
def add(
    ctx: typer.Context,
    name: str,
    labels: Annotated[list[Label], many(_LABELS, "--label", "KEY=VALUE", parser=parse_label)],
    *,
    host: Annotated[
        str | None, option("The node's address, if NAME is not an alias of ~/.ssh/config.")
    ] = None,
    user: Annotated[str | None, option("The user name for SSH on the node.")] = None,
    port: Annotated[int | None, option("The port of the node's SSH server.", min=1, max=65535)] = None,
    identity: Annotated[str | None, option("Private key file.", "PATH")] = None,
    slots: Annotated[SlotBounds | None, option(_ADD_SLOTS, "N|LEAST-MOST", parser=slot_bounds)] = None,
    local: Annotated[bool, option("Add this machine; it needs no SSH server.")] = False,
    local_home: Annotated[str | None, option("Another HOME for the node that --local adds.", "PATH")] = None,
    node_home: Annotated[
        str | None, option("The node agent's folder on the node, if not ~/.pancode-node/FLEET.", "PATH")
    ] = None,
    accept_fingerprint: Annotated[str | None, option("The host key that you expect.", "SHA256:...")] = None,
    fleet_key: Annotated[bool, option(_FLEET_KEY, "--fleet-key/--no-fleet-key")] = False,
    face: Json,
) -> None:
    """Add a node to the inventory; show its host key and ask once whether it is correct."""
    client = face.client(works=True)
    spec = {k: v for k, v in ctx.params.items() if k in _SPEC_FIELDS and v not in (None, False)}
    spec |= _make_bounds(slots)
    spec |= {"name": name, **({"labels": dict(labels)} if labels else {}), **describe_caller()}
    spec |= {} if local else {"fleet_key": fleet_key}
    try:
        _confirm_host_key(face, client, spec, accept_fingerprint)
    except (KeyboardInterrupt, typer.Abort):
        face.note(f"\n{escape_line(name)} was not added")
        raise
    try:
        answer = client.post(answers.ADD, spec)
    except KeyboardInterrupt:
        look = f"to see whether {escape_line(name)} was added: pancode node ls"
        face.note(f"\ninterrupted before the answer arrived; {look}")
        raise
    next_step = f'next, in your project: pancode dispatch --node {name} "..."'
    up = f"pancode fleet up {name}"
    for one in answer["problems"]:
        if one["fix"] != up:  # what a dispatch does by itself is not a problem
            next_step = f"it cannot be used yet: {one['what']}\n  fix: {one['fix']}; then: {up}"
    face.show(answer, lambda: f"added {name}\n{next_step}\n")


def _confirm_host_key(face: Face, client: Client, spec: dict[str, Any], given: str | None) -> None:
    """Ask whether an unknown host key is correct before anything changes; the answer goes into `spec`."""
    try:
        probed = client.post(answers.PROBE, spec)
    except ApiError as refused:
        here = {"localhost", "127.0.0.1", "::1", socket.gethostname().lower()}
        if (spec.get("host") or spec["name"]).lower() in here and remote_of(os.environ) is None:
            refused.fix = f"this machine needs no SSH server: pancode node add {spec['name']} --local"
        raise
    face.warn(probed["warnings"])
    fingerprint = _accept_key(face, probed["questions"], given)
    spec |= {} if fingerprint is None else {"fingerprint": fingerprint}


def _accept_key(face: Face, questions: list[answers.QuestionShape], given: str | None) -> str | None:
    """Return the fingerprint that the user accepts; None: there was no question. UsageError: refused."""
    for question in questions if given is None else ():
        text = escape_line(question["text"])
        look = "compare the fingerprint on that node (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)"
        fix = f"{look}, then add --accept-fingerprint {question['value']}"
        if not face.confirm(f"{text}. Is it correct?", fix):
            raise UsageError("nothing was added", why="the host key was not accepted", code="not_accepted")
        return question["value"]
    return given


@verb("node show", "gpubox")
def show(name: Node, face: Json) -> None:
    """Show how a node is reached, and what it reports about itself."""
    face.show_result(face.get(answers.NODE.at(name)), node_page)


def _make_bounds(slots: SlotBounds | None) -> dict[str, int | None]:
    return {} if slots is None else {"slots": slots.most, "least": slots.least}


@verb("node set", "gpubox --slots 2 --label room=attic", "gpubox --slots 1-8", "gpubox --gpus asked")
def set_(
    name: Node,
    labels: Annotated[list[Label], many(_SET_LABELS, "--label", "KEY=VALUE", parser=parse_label)],
    unlabel: Annotated[list[str], many("Remove a label; may be repeated.", "KEY")],
    *,
    slots: Annotated[SlotBounds | None, option(_SLOTS, "N|LEAST-MOST", parser=slot_bounds)] = None,
    gpus: Annotated[Literal["all", "asked", "none"] | None, option(_GPUS)] = None,
    face: Json,
) -> None:
    """Change a node's slots and labels, and which runs get its GPUs, at once.

    With bounds, such as 1-8, the node accepts fewer runs while it is short of CPU or memory or too hot, while
    calls queue at a model server that its runs use, or while a provider's rate limit is nearly reached. It
    accepts more again afterwards; to see why: pancode node ls, pancode why RUN.

    Runs that were started on or offered to the node stay there. A node that is offline gets the change when
    it returns, but the coordinator applies a lower number of slots at once.
    """
    wanted = {**_make_bounds(slots), "labels": dict(labels), "unlabel": list(unlabel)}
    answer = face.post(answers.SET.at(name), {**wanted, **({"gpus": gpus} if gpus else {})})
    count, rule = answer["slots"]["total"], f", GPUs for {answer['gpu_rule']}" if gpus else ""
    if gpus not in (None, "all") and answer["isolation"] == "none":
        face.note(f"{name} has no sandbox: runs only get CUDA_VISIBLE_DEVICES, which they may ignore")
    labels_now = escape_line(format_labels(answer)) or "-"
    face.show(answer, lambda: f"{name}: {count} slots, labels {labels_now}{rule}\n")


@verb("node rm", "gpubox")
def rm(
    name: Node, *, yes: Annotated[bool, option("Do not ask for confirmation.")] = False, face: Json
) -> int:
    """Remove every file, process, key and unit that PanCode installed on a node, and verify the removal.

    An offline node is revoked at once and cleaned at its next contact.
    """
    client = face.client()
    busy = client.get(answers.NODE.at(name))["slots"]["used"]
    if busy:
        face.note(f"{busy} in flight there: current work is killed and ends as lost")
    question = f"Remove {name} from the fleet, including its node home and any secrets.json in it?"
    if not yes and not face.confirm(question, "--yes"):
        return ExitCode.DONE
    removal = client.events("POST", path_of("nodes", name, "remove"), describe_caller())
    answer: answers.NodeResultShape = show_steps(face, removal)
    status = ExitCode.DONE if answer["ok"] else ExitCode.PARTIAL
    return face.end(status, answer, lambda: _format_removed(answer))


def _format_removed(answer: answers.NodeResultShape) -> str:
    removed, changed = f"{answer['node']} is removed", answer["changed"]
    if not answer["ok"]:
        lines = [f"{removed}, not cleaned"]
        for problem in answer["problems"]:
            lines += [f"  {problem['what']}", *([f"  fix: {problem['fix']}"] if problem["fix"] else [])]
        return escape_lines(lines)
    if "forgotten" in changed:
        return f"{removed}; that computer is in the fleet under another name, and is unchanged\n"
    if "never_reached" in changed:
        return f"{removed}; it was never connected, so PanCode has installed nothing there\n"
    gone = escape_lines(f"  also deleted, although written by hand: {one}" for one in changed if "/" in one)
    return f"{removed}, nothing of PanCode is left on it\n{gone}"


@verb("node trust", "gpubox")
def trust(
    name: Node,
    *,
    accept_fingerprint: Annotated[str | None, option("The host key that you expect.", "SHA256:...")] = None,
    face: Json,
) -> None:
    """Pin a node's new host key, after you have checked why the key has changed."""
    client = face.client()
    if client.get(answers.NODE.at(name))["target"]["local"]:
        fix = f"no host key is needed; start it: pancode fleet up {name}"
        raise UsageError(f"{name} is this machine: it has no host key to trust", fix=fix)
    probed = client.post(answers.PROBE, {"name": name, **describe_caller()})
    fingerprint = _accept_key(face, probed["questions"], accept_fingerprint)
    if fingerprint is None:
        same = {"node": name, "ok": True, "changed": []}
        return face.show(same, lambda: f"{name} presents the pinned host key\n")
    answer = client.post(answers.TRUST.at(name), {**describe_caller(), "fingerprint": fingerprint})
    then = f"next: pancode fleet up {name}"
    if client.get(answers.NODE.at(name))["state"] == "removed, not cleaned":
        then = "it is being removed, and is now cleaned automatically"
    return face.show(answer, lambda: f"{name}: pinned {fingerprint}; {then}\n")


@verb("node login", "gpubox claude")
def login(
    name: Node, runtime: Annotated[str, Argument(autocompletion=completions.runtimes)], face: Json
) -> int:
    """Log in to an agent program on a node, with the vendor's own login on this terminal.

    RUNTIME is the program's name in `pancode agents runtimes`. The exit status is that of the login. After
    the login the command waits up to 30 seconds for the node to confirm it. None of the login passes through
    the coordinator; `pancode audit` shows which user opened it, on which node, and how it ended.
    """
    from pancode.fleet.login import log_in

    home_of(os.environ)  # this machine's SSH connects to the node
    route, body = answers.LOGIN.at(name), {"by": find_user(), "runtime": runtime}
    client = face.client()
    answer = client.post(route, body)
    outcome = "the end of the login was not observed"
    try:
        status = log_in(name, answer["target"], runtime, os.environ)
        outcome = f"exit {status}"
    except PancodeError as error:
        outcome = str(error)[:500]
        raise
    except KeyboardInterrupt:
        status, outcome = ExitCode.DETACHED, "interrupted"
    finally:
        # the audit log already has the start, and the login itself has ended
        with contextlib.suppress(PancodeError):
            client.post(route, {**body, "outcome": outcome})
    if status == ExitCode.DETACHED:
        again = f"pancode node login {name} {runtime}"
        face.note(f"\nthe login was interrupted. To log in: {again}")
    if status == ExitCode.DONE:
        _tell_what_lacks(face, facts_after(client, name, (runtime,), ("not_logged_in",)))
    return face.end(status, {"node": name, "runtime": runtime, "status": status}, lambda: "")


Words = Annotated[list[str], Argument(metavar="NODE... RUNTIME...", help="Nodes, and what runs on them.")]


@verb("node install", "gpubox claude codex", "gpubox claude --version 2.1.3", "gpubox")
def install(
    words: Words,
    *,
    version: Annotated[str, option("This version (default: the newest compatible one).", "V")] = "",
    face: Json,
) -> int:
    """Install agent programs on nodes, for the node's login. Run it again to update them.

    Without a program, the command updates all programs that it has installed, except those whose version you
    chose. Programs are installed by npm below ~/.local, or in a separate Python environment. A node without
    Node.js first gets Node.js from Python's package index; it is removed with the last program that needs it.
    `node rm` removes everything installed this way. The command waits up to 30 seconds for the node's new
    report, and shows what a program still needs, such as a login.
    """
    return _change_node_programs(face, "install", words, version)


@verb("node uninstall", "gpubox codex")
def uninstall(words: Words, *, face: Json) -> int:
    """Remove what `node install` has installed; programs installed another way remain."""
    return _change_node_programs(face, "uninstall", words)


def _change_node_programs(face: Face, act: str, words: list[str], version: str = "") -> int:
    """Install or uninstall (`act`) on each node in turn. Return INFRA if a node did not complete it."""
    from node_agent.wire.other_runtimes import REMOVED_RUNTIMES
    from pancode.fleet.login import change_programs

    home_of(os.environ)  # this machine's SSH connects to the node
    client = face.client()
    runtimes = {*REMOVED_RUNTIMES, *(one["name"] for one in client.get(RUNTIMES)["runtimes"])}
    wanted = [word for word in words if word in runtimes]
    nodes = [word for word in words if word not in runtimes]
    names = [one["name"] for one in client.get(answers.FLEET)["nodes"]]
    for word in (one for one in nodes if one not in names):
        look = "pancode node ls, pancode agents runtimes"
        raise not_found("node or runtime", word, [*names, *runtimes], look)
    act = "update" if act == "install" and not wanted else act
    if not nodes or not (wanted or act == "update"):
        fix = f"for example: pancode node {act} gpubox claude (see pancode agents runtimes, pancode node ls)"
        raise UsageError("at least one node and one runtime are required", fix=fix)
    if version and len(wanted) > 1:
        fix = f"choose one runtime: {', '.join(wanted)}"
        raise UsageError("--version requires exactly one runtime", fix=fix)
    more = ("--away",) if act == "uninstall" else ("--version", version) if version else ()
    report, words_of = list[dict[str, object]](), ""
    for name in nodes:
        route, body = answers.PROGRAMS.at(name), {"by": find_user(), "act": act, "runtimes": wanted}
        target = client.post(route, body)["target"]
        face.note(f"{name}: {act} {' '.join(wanted) or 'all that was installed'} ...")
        did, status = False, "the end of the command was not observed"
        try:
            did, status = change_programs(name, target, (*wanted, *more), os.environ)
        finally:
            with contextlib.suppress(PancodeError):
                end = status.strip()
                client.post(route, {**body, "outcome": end if len(end) <= 500 else f"...{end[-497:]}"})
        report.append({"node": name, "well": did, "said": status})
        if did and not status:
            words_of += f"{name}: nothing to update; PanCode has installed no program there\n"
        else:
            words_of += f"{name}:\n{safe_block(status)}\n"
        if did and act == "install":
            _tell_what_lacks(face, facts_after(client, name, wanted, ("missing", "looking")))
    well = all(one["well"] for one in report)
    return face.end(ExitCode.DONE if well else ExitCode.INFRA, {"nodes": report}, lambda: words_of)


def _tell_what_lacks(face: Face, facts: dict[str, NodeRuntime]) -> None:
    """Print which installed programs cannot accept a run yet, and what each program needs."""
    for name, fact in facts.items():
        if fact["state"] != "ok" and not is_local_only(fact):
            words = f"{name} on {fact['node']} is {fact['state'].replace('_', ' ')}"
            face.note(escape_line(f"{words}: {fact['says']}" if fact["says"] else words))


WIDTH = 13
Fact = tuple[str, str]


def node_page(node: answers.NodeDetail) -> str:
    """Return a line for each known fact; omit what the node has not reported."""
    rows = [*_list_state(node), *_list_reach(node["target"]), *_list_machine(node), *_list_offers(node)]
    lines = [f"{name + ':' if name else '':<{WIDTH}} {words}".rstrip() for name, words in rows]
    lines += ["Problems:"] if node["problems"] else []
    for one in node["problems"]:
        hint = format_advice(one)
        lines += [f"  {escape_line(one['what'])}", *([f"    {hint}"] if hint else [])]
    return "\n".join(lines) + "\n"


def _list_state(node: answers.NodeDetail) -> Iterator[Fact]:
    slots = node["slots"]
    yield "Name", escape_line(node["name"])
    yield "State", f"{color_state(node['state'])} since {short_time(node['since'])}"
    held = {"Draining": node["draining"], "Paused": node["paused"], "Quarantined": node["quarantined"]}
    yield from ((name, escape_line(why)) for name, why in held.items() if why)
    fewer = f"; now accepts {slots['now']}: {slots['why']}" if slots["why"] else ""
    yield "Slots", f"{slots['used']} of {slots['total']} in use{escape_line(fewer)}"
    yield "Labels", ", ".join(escape_line(f"{k}={v}") for k, v in sorted(node["labels"].items())) or "-"
    yield "Added", f"{short_time(node['added_at'])}"
    yield "Tag", f"{node['tag'] or '-'} (its name in the queues)"
    yield "Key", node["public_key"] or "none yet: pancode fleet up"


def _list_reach(reach: answers.ReachShape) -> Iterator[Fact]:
    target = reach["target"]
    if not target["host"]:
        return
    user, port = (f"{target['user']}@" if target["user"] else ""), target["port"] or 22
    through = [*(hop["host"] for hop in target["hops"]), *target["proxy"][:1]]
    way = f"ssh {user}{target['host']}, port {port}" + (f", through {', '.join(through)}" if through else "")
    yield "Reached by", "this machine" if reach["local"] else escape_line(way)
    for place, pins in sorted(reach["pins"].items()):
        yield "Host key", escape_line(f"{place} {_make_fingerprint(pins)}")
    yield "Home", escape_line(reach["installed_home"] or "PanCode is not installed on it yet")
    yield from (("SSH config", escape_line(warning)) for warning in target["warnings"])


def _make_fingerprint(line: str) -> str:
    """Return the fingerprint of a public key as `ssh-keygen -lf` and `node add` show it."""
    kind, _, data = line.partition(" ")
    try:
        raw = base64.b64decode(data.split()[0], validate=True)
    except (ValueError, IndexError):
        return line
    return f"{kind} SHA256:{base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip('=')}"


def _list_machine(node: answers.NodeDetail) -> Iterator[Fact]:
    facts = node["facts"]
    if facts is None:
        yield "Machine", "nothing received yet"
        return
    yield "Host name", escape_line(facts["hostname"])
    yield "System", escape_line(f"{facts['os']}, {facts['arch']}, Python {facts['python']}")
    load = f"{facts['cpus']} processors, load {facts['load_1m']:.1f}, {format_bytes(facts['memory'])} memory"
    yield "Machine", f"{load}, {format_bytes(facts['disk_free'])} free disk space"
    skew = node["clock_skew_s"]
    yield "Clock", "-" if skew is None else f"{skew:+.1f} s off ours"
    yield "Node agent", escape_line(node["version"] or "-")
    yield "Isolation", escape_line(facts["isolation"])
    yield from gpu_lines(node)
    allows = facts["allows"]
    if allows["closed"]:
        yield "Allows", escape_line(f"nothing: {allows['closed']}")
        return
    parts = [f"up to {allows['safety']}"]
    for what, named in (("repositories", allows["repositories"]), ("runtimes", allows["runtimes"])):
        parts += [f"{what} {', '.join(named)}"] if named else []
    yield "Allows", escape_line("; ".join(parts))


def gpu_lines(node: answers.NodeShape) -> Iterator[Fact]:
    """Yield a line for each GPU of a node, and a line that shows which runs get them."""
    for number, one in enumerate(node["gpus"]):
        known = one["memory_free"] is not None
        state = f"{format_bytes(one['memory_free'])} free" if known else "free memory unknown"
        state += "" if one["busy"] is None else f", {one['busy']} % busy"
        if one["unknown_since"]:
            state = f"its driver has not responded since {short_time(one['unknown_since'])}"
        state += f", held by {one['holder']}" if one["holder"] else ""
        state += f", driver {one['driver']}" if one["driver"] else ""
        words = f"{one['name']}, {format_bytes(one['memory'])}, {state}, {one['uuid']}"
        yield "" if number else "GPUs", escape_line(words)
    if node["gpus"]:
        yield "GPU labels", ", ".join(f"{k}={escape_line(v)}" for k, v in node["gpu_labels"].items())
        change = f"pancode node set {escape_line(node['name'])} --gpus all|asked|none"
        yield "GPUs go to", f"{_GPU_RULES[node['gpu_rule']]} ({change})"


_GPU_RULES = {
    **{"all": "every run, except GPUs reserved by a run", "asked": "only runs with --gpus"},
    "none": "no run",
}


def _list_offers(node: answers.NodeDetail) -> Iterator[Fact]:
    there = [one for one in node["runtimes"] if one["state"] != "missing"]
    for number, one in enumerate(there):
        yield "" if number else "Runtimes", escape_line(runtime_words(one))
    missing = escape_line(", ".join(one["name"] for one in node["runtimes"] if one["state"] == "missing"))
    if missing:
        yield "Not there", f"{missing} (pancode agents runtimes shows how to install them)"
    problems = {one.get("says") for one in node["problems"]}
    for one in there:
        if one["state"] == "not_logged_in" and one["says"] not in problems and not is_local_only(one):
            yield "Not ready", escape_line(f"{one['name']}: {one['says']}")
    yield from (("Endpoint", escape_line(endpoint_words(server))) for server in node["endpoints"])


MOST = 1 << 20


@verb(
    "node secret", "gpubox ANTHROPIC_API_KEY", "pass show openai | pancode node secret gpubox OPENAI_API_KEY"
)
def keep_secret(node: Node, name: str, face: Json) -> None:
    """Store a value in secrets.json of NODE, under NAME, from standard input or from a hidden prompt.

    The file's other values remain. The value goes directly to the node; the coordinator never has it. The
    command waits up to 30 seconds for the node to report that the programs that use it are logged in.
    """
    from node_agent.runtimes.registry import RUNTIMES
    from pancode.fleet.login import set_secret

    home_of(os.environ)  # this machine's SSH connects to the node
    client = face.client()
    answer = client.get(answers.NODE.at(node))
    words = set_secret(answer["name"], answer["target"], name, _read_value(face, node, name), os.environ)
    takers = {one.name for one in RUNTIMES.values() if name in one.credentials}
    facts = facts_after(client, answer["name"], takers, ("not_logged_in", "looking"))
    lacking = [one for one, fact in facts.items() if fact["state"] == "not_logged_in"]
    if lacking:
        face.note(
            f"{answer['name']} has not confirmed yet that the secret is enough for {', '.join(lacking)}"
        )
    face.show({"node": answer["name"], "name": name, "said": words}, lambda: f"{answer['name']}: {words}\n")


def _read_value(face: Face, node: str, name: str) -> bytes:
    if face.can_ask():
        try:
            return getpass.getpass(f"{name} for {node} (not shown): ").encode()
        except EOFError:
            return b""
    data = sys.stdin.buffer.read(MOST + 1)
    if len(data) > MOST:
        raise UsageError(f"the value is longer than {MOST} bytes", fix=f"enter only the value of {name}")
    return data
