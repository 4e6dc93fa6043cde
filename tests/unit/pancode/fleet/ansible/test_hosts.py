"""Which hosts of an inventory are meant, what they become, and what is said of those that cannot work."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.fleet.ansible.hosts import InventoryHost, Misfit, entry, hosts_of

LISTED: dict[str, Any] = {
    "_meta": {"hostvars": {}},
    "all": {"children": ["ungrouped", "pancode_nodes", "web"]},
    "pancode_nodes": {"hosts": ["b"], "children": ["gpus"]},
    "gpus": {"hosts": ["a", "b"]},
    "web": {"hosts": ["w"]},
}


def test_the_group_is_meant_with_its_children_each_host_once() -> None:
    assert hosts_of(LISTED, None) == ("b", "a")
    assert hosts_of(LISTED, "web") == ("w",)
    assert hosts_of({k: v for k, v in LISTED.items() if k != "pancode_nodes"}, None) == ("a", "b", "w")


def test_a_host_is_what_node_add_would_name() -> None:
    told = {
        "ansible_host": "10.0.0.7",
        "ansible_user": "root",
        "ansible_port": "2222",
        "node_user": "worker",
        "pancode_labels": {"gpu": 24},
        "pancode_slots": 2,
    }
    assert entry("box", told, lambda _: True) == InventoryHost(
        "box", "10.0.0.7", "worker", 2222, None, True, {"gpu": "24"}, 2
    )
    bare = InventoryHost("box", None, None, None, None, False)
    assert entry("box", {"pancode_fleet_key": False}, lambda _: True) == bare


@pytest.mark.parametrize(
    ("told", "variable", "words"),
    [
        ({"ansible_connection": "winrm"}, "ansible_connection", "is winrm"),
        ({"ansible_password": "x"}, "ansible_password", "keys alone"),
        ({"ansible_ssh_common_args": "-o ProxyJump=b"}, "ansible_ssh_common_args", "jump host"),
        ({"ansible_ssh_common_args": "-J b"}, "ansible_ssh_common_args", "jump host"),
        ({"ansible_host": "{{ ip }}"}, "ansible_host", "is a template"),
        ({"ansible_port": 0}, "ansible_port", "is no port: 0"),
        ({"ansible_port": 65536}, "ansible_port", "is no port"),
        ({"ansible_ssh_private_key_file": "/k"}, "ansible_ssh_private_key_file", "names no file: /k"),
        ({"node_name": "a b"}, "node_name", "cannot be a name"),
        ({"pancode_labels": "gpu"}, "pancode_labels", "is no map"),
        ({"pancode_labels": {"a": "b c"}}, "pancode_labels", "is no map"),
        ({"pancode_slots": 257}, "pancode_slots", "is no number"),
    ],
)
def test_what_cannot_work_is_named_by_its_variable_with_a_fix(
    told: dict[str, Any], variable: str, words: str
) -> None:
    said = entry("box", told, lambda _: False)
    assert isinstance(said, tuple)
    (misfit,) = said
    assert isinstance(misfit, Misfit)
    assert (misfit.host, misfit.variable) == ("box", variable)
    assert words in misfit.what and misfit.fix
