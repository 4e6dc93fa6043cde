"""Decides whether a host of an Ansible inventory can be a machine of the fleet, and as which one (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pancode.kernel.names import label_word, node_name

GROUP = "pancode_nodes"
"""The group of an inventory whose hosts are meant; without that group, all hosts are."""
_SSH = ("ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh", "ansible.builtin.paramiko_ssh")
_PASSWORDS = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
_JUMPS = ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args")
_MOST_SLOTS, _MOST_PORT = 256, 65535


@dataclass(frozen=True, slots=True)
class Misfit:
    """One variable of a host that cannot work, and its fix."""

    host: str
    variable: str
    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class InventoryHost:
    """A host in the form that `node add` takes."""

    name: str
    host: str | None
    user: str | None
    port: int | None
    identity: str | None
    fleet_key: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    slots: int | None = None


def hosts_of(listed: Mapping[str, Any], group: str | None) -> tuple[str, ...]:
    """The hosts' names in order, from the output of `ansible-inventory --list`. KeyError: no such group."""
    name = group or (GROUP if GROUP in listed else "all")
    found: dict[str, None] = {}
    _gather(listed, name, found)
    return tuple(found)


def _gather(listed: Mapping[str, Any], name: str, found: dict[str, None]) -> None:
    group = listed.get(name, {}) if name != "all" else {"children": [k for k in listed if k != "_meta"]}
    found.update(dict.fromkeys(group.get("hosts", ())))
    for child in group.get("children", ()):
        if child != name and child != "all":
            _gather(listed, child, found)


def entry(
    host: str, hostvars: Mapping[str, Any], exists: Callable[[str], bool]
) -> InventoryHost | tuple[Misfit, ...]:
    """The host, or what is wrong with it. `exists`: whether a file is there, for the private key."""
    wrong = [*_connection(host, hostvars), *_values(host, hostvars, exists), *_own(host, hostvars)]
    if wrong:
        return tuple(wrong)
    port = hostvars.get("ansible_port")
    return InventoryHost(
        name=str(hostvars.get("node_name", host)),
        host=_text(hostvars, "ansible_host"),
        user=_text(hostvars, "node_user") or _text(hostvars, "ansible_user"),
        port=int(port) if port is not None else None,
        identity=_text(hostvars, "ansible_ssh_private_key_file"),
        fleet_key=hostvars.get("pancode_fleet_key", True) is not False,
        labels={str(k): str(v) for k, v in hostvars.get("pancode_labels", {}).items()},
        slots=int(hostvars["pancode_slots"]) if "pancode_slots" in hostvars else None,
    )


def _text(hostvars: Mapping[str, Any], name: str) -> str | None:
    return str(hostvars[name]) if hostvars.get(name) else None


def _connection(host: str, hostvars: Mapping[str, Any]) -> list[Misfit]:
    """The host's variables for connections that PanCode's links cannot make."""
    out = []
    way = str(hostvars.get("ansible_connection", "ssh"))
    if way not in _SSH:
        fix = f"take it out of the group {GROUP}; for this machine: pancode node add {host} --local"
        out.append(Misfit(host, "ansible_connection", f"is {way}; nodes are reached by SSH", fix))
    for name in _PASSWORDS:
        if hostvars.get(name):
            fix = "put your public key there (ssh-copy-id) and take the variable away"
            out.append(Misfit(host, name, "is a password; links log in with keys alone", fix))
    for name in _JUMPS:
        if re.search(r"(^|\s)-J|ProxyJump|ProxyCommand", str(hostvars.get(name, ""))):
            fix = f"write ProxyJump under `Host {host}` in ~/.ssh/config: Ansible and PanCode both read it"
            out.append(Misfit(host, name, "has a jump host, which PanCode does not read here", fix))
    return out


def _values(host: str, hostvars: Mapping[str, Any], exists: Callable[[str], bool]) -> list[Misfit]:
    out = []
    for name in ("ansible_host", "ansible_user", "ansible_port", "node_user"):
        if "{{" in str(hostvars.get(name, "")):
            out.append(Misfit(host, name, f"is a template: {hostvars[name]}", "write the value itself"))
    port = hostvars.get("ansible_port")
    if port is not None and "{{" not in str(port) and not _whole(port, _MOST_PORT):
        fix = f"a number from 1 to {_MOST_PORT}, or no such variable for 22"
        out.append(Misfit(host, "ansible_port", f"is no port: {port!r}", fix))
    key = hostvars.get("ansible_ssh_private_key_file")
    if key and not exists(str(key)):
        out.append(
            Misfit(host, "ansible_ssh_private_key_file", f"names no file: {key}", "name the private key")
        )
    return out


def _own(host: str, hostvars: Mapping[str, Any]) -> list[Misfit]:
    """What is wrong with the host's variables for PanCode."""
    out, name = [], hostvars.get("node_name", host)
    try:
        node_name(str(name))
    except ValueError as error:
        what = "node_name" if "node_name" in hostvars else "inventory_hostname"
        out.append(Misfit(host, what, str(error), "give it a name by node_name"))
    labels = hostvars.get("pancode_labels", {})
    if not _are_labels(labels):
        out.append(Misfit(host, "pancode_labels", f"is no map of words: {labels!r}", "such as {gpu: 24g}"))
    if "pancode_slots" in hostvars and not _whole(hostvars["pancode_slots"], _MOST_SLOTS):
        what = f"is no number of slots: {hostvars['pancode_slots']!r}"
        out.append(Misfit(host, "pancode_slots", what, f"a number from 1 to {_MOST_SLOTS}"))
    return out


def _are_labels(labels: object) -> bool:
    if not isinstance(labels, Mapping):
        return False
    try:
        return all(label_word(str(word)) for pair in labels.items() for word in pair)
    except ValueError:
        return False


def _whole(value: object, most: int) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,6}", str(value))) and 1 <= int(str(value)) <= most
