"""A host of an inventory that cannot be a node, by the real ansible-inventory: file, host, variable, fix."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pancode.fleet.ansible.inventory import read
from pancode.kernel.errors import ConfigError

pytestmark = pytest.mark.slow
BIN = Path(__file__).resolve().parents[2] / ".venv" / "ansible" / "bin"

KINDS = {
    "ansible_connection": ("winrm", "is winrm", "take it out of the group pancode_nodes"),
    "ansible_password": ("geheim", "is a password", "put your public key there (ssh-copy-id)"),
    "ansible_ssh_common_args": ("-J bastion", "has a jump host", "write ProxyJump under `Host"),
    "ansible_host": ("{{ address }}", "is a template", "write the value itself"),
    "ansible_user": ("{{ who }}", "is a template", "write the value itself"),
    "ansible_port": ("22x", "is no port: '22x'", "a number from 1 to 65535"),
    "ansible_ssh_private_key_file": ("/none/key", "names no file: /none/key", "name the private key"),
    "node_user": ("{{ who }}", "is a template", "write the value itself"),
    "node_name": ("a b", "'a b' cannot be a name", "give it a name by node_name"),
    "pancode_labels": ("gpu", "is no map of words", "such as {gpu: 24g}"),
    "pancode_slots": ("0", "is no number of slots", "a number from 1 to 256"),
}
"""Variable to a value that cannot work, what is said of it, and the fix."""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    home = {"HOME": str(tmp_path), "ANSIBLE_HOME": str(tmp_path / ".ansible")}
    return {**os.environ, **home, "PATH": f"{BIN}:{os.environ['PATH']}"}


def test_every_kind_is_named_with_the_file_that_says_it(tmp_path: Path, environ: dict[str, str]) -> None:
    """In one reading: each host has its own mistake in its own file, and one in the inventory itself."""
    hosts = [name.replace("_", "-") for name in KINDS]
    inventory = tmp_path / "hosts.ini"
    inventory.write_text("\n".join(["[pancode_nodes]", "good", *hosts, "line ansible_port=0", ""]))
    (tmp_path / "host_vars").mkdir()
    for host, (name, (value, _, _)) in zip(hosts, KINDS.items(), strict=True):
        (tmp_path / f"host_vars/{host}.yml").write_text(f'{name}: "{value}"\n')
    with pytest.raises(ConfigError) as caught:
        read([str(inventory)], None, environ)
    told = [
        f"{caught.value.why.splitlines()[0]}; fix: {caught.value.fix}",
        *caught.value.why.splitlines()[1:],
    ]
    for host, (name, (_, what, fix)) in zip(hosts, KINDS.items(), strict=True):
        place = f"{tmp_path}/host_vars/{host}.yml: host {host}: {name} {what}"
        assert any(place in line and f"fix: {fix}" in line for line in told), f"{place} not in {told}"
    assert any(f"{inventory}: host line: ansible_port is no port" in line for line in told), told
    assert len(told) == len(KINDS) + 1 and "geheim" not in "".join(told), told


def test_a_mistake_of_a_group_is_found_in_the_groups_file(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/pancode_nodes.yml").write_text("pancode_slots: many\n")
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("pancode_nodes: {hosts: {box: {}}}\n")
    with pytest.raises(ConfigError) as caught:
        read([str(inventory)], None, environ)
    assert f"{tmp_path}/group_vars/pancode_nodes.yml: host box: pancode_slots" in caught.value.why


@pytest.mark.parametrize(
    ("text", "group", "message", "fix"),
    [
        ("[pancode_nodes]\n", None, "the inventory names no host", ""),
        ("box\n", "gpus", "the inventory has no group gpus", ""),
        ("a: [\n", None, "Ansible cannot read the inventory", "ansible-inventory -i"),
    ],
)
def test_an_inventory_that_cannot_be_meant(
    tmp_path: Path, environ: dict[str, str], text: str, group: str | None, message: str, fix: str
) -> None:
    inventory = tmp_path / "hosts.yml" if ":" in text else tmp_path / "hosts.ini"
    inventory.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read([str(inventory)], group, environ)
    assert fix in caught.value.fix and (str(inventory) in caught.value.why or fix)
