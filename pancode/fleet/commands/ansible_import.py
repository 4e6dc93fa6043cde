"""`pancode node import`: the hosts of an Ansible inventory as machines of the fleet."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pancode.fleet.ansible.hosts import InventoryHost
from pancode.fleet.ansible.inventory import known_fingerprint, read
from pancode.interfaces.cli.commands import Commands
from pancode.interfaces.cli.output import Face, caller, who
from pancode.interfaces.cli.parameters import Json, option
from pancode.interfaces.cli.terminal import safe
from pancode.interfaces.client.client import Client, home_of, path_of
from pancode.kernel.errors import ConflictError, UsageError

app = Commands()

TARGET = ("host", "user", "port")


@app.verb("import", "pancode node import --ansible inventory.yml")
def import_(
    sources: Annotated[
        list[str], option("An inventory, as for ansible-playbook -i; may be repeated.", "--ansible", "FILE")
    ],
    *,
    group: Annotated[
        str | None, option("Import only the hosts of this group (default: pancode_nodes, if it exists).")
    ] = None,
    face: Json,
) -> None:
    """Put the hosts of an Ansible inventory into the fleet's own.

    A host key that your known_hosts has is taken, another one is asked for. Labels and slots follow
    `pancode_labels` and `pancode_slots`. A second time changes nothing; no machine is taken out.
    """
    home_of(os.environ)  # the inventory, Ansible and known_hosts are this machine's
    entries = read(sources, group, dict(os.environ))
    client = face.client(works=True)
    there = {node["name"] for node in client.get("/v1/fleet")["nodes"]}
    changed = [one.name for one in entries if _one(face, client, one, one.name in there)]
    answer = {"nodes": [one.name for one in entries], "changed": changed}
    face.show(answer, lambda: f"{len(entries)} hosts, {len(changed)} changed\n")


def _one(face: Face, client: Client, wanted: InventoryHost, there: bool) -> bool:
    if not there:
        given = {"name": wanted.name, "host": wanted.host, "user": wanted.user, "port": wanted.port}
        spec: dict[str, Any] = {k: v for k, v in given.items() if v is not None} | caller()
        spec |= {"labels": dict(wanted.labels), "fleet_key": wanted.fleet_key}
        if wanted.identity is not None:
            spec["identity"] = os.path.expanduser(wanted.identity)
        if wanted.slots is not None:
            spec["slots"] = wanted.slots
        probed = client.post("/v1/nodes/probe", spec)
        for question in probed["questions"]:
            spec["fingerprint"] = _accepted(face, probed["target"], question)
        client.post("/v1/nodes", spec)
        return True
    now = client.get(path_of("nodes", wanted.name))
    _same_place(wanted, now["target"]["target"])
    labels = {k: v for k, v in wanted.labels.items() if now["labels"].get(k) != v}
    slots = wanted.slots if wanted.slots != now["slots"]["total"] else None
    if not labels and slots is None:
        return False
    client.post(
        path_of("nodes", wanted.name, "set"), {"slots": slots, "labels": labels, "unlabel": [], "by": who()}
    )
    return True


def _accepted(face: Face, target: dict[str, Any], question: dict[str, Any]) -> str:
    shown = str(question["value"])
    known = known_fingerprint(target["host"], target["port"], os.environ)
    if known is not None and known != shown:
        raise UsageError(
            f"{target['name']} presents another host key than your known_hosts has",
            why=f"known {known}, presented {shown}",
            fix=f"ask its owner; when it is right: ssh-keygen -R {target['host']}, and log in by hand",
            code="host_key_differs",
        )
    by_hand = f"log in by hand once and compare: ssh {target['user']}@{target['host']}"
    if known is None and not face.agreed(f"{safe(question['text'])}. Is it the right one?", by_hand):
        raise UsageError("nothing more was added", why="the host key was not accepted", code="not_accepted")
    return shown


def _same_place(wanted: InventoryHost, now: dict[str, Any]) -> None:
    """ConflictError where the target differs: as for its host key, a machine that moved is another one."""
    for name in TARGET:
        meant = getattr(wanted, name)
        if meant is not None and meant != now[name]:
            raise ConflictError(
                f"{wanted.name} is in the fleet with another {name}",
                why=f"the inventory says {meant}, the fleet {now[name]}",
                fix=f"pancode node rm {wanted.name}, then import again; or mend the inventory",
                code="node_differs",
            )
