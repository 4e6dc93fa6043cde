"""The machines of a PanCode fleet as an Ansible inventory: groups by label, state and runtime."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
short_description: The machines of a PanCode fleet
description:
  - Asks the fleet's coordinator for its machines.
  - Every machine is in C(pancode_nodes) and C(state_STATE), in C(label_KEY_VALUE) for each of its labels,
    and in C(runtime_NAME) for each agent program that is ready there.
options:
  plugin:
    description: Says that the file is for this plugin.
    type: str
    required: true
    choices: [pancode.fleet.fleet]
  command:
    description: The command line of PanCode on the machine where Ansible runs, as an argument list.
    type: list
    elements: str
    default: [pancode]
extends_documentation_fragment:
  - constructed
author:
  - The PanCode authors (@pancode)
"""

EXAMPLES = r"""
# fleet.pancode.yml
plugin: pancode.fleet.fleet
keyed_groups:
  - key: pancode_slots | string
    prefix: slots
"""

import json
import subprocess

from ansible.errors import AnsibleParserError

from ansible.plugins.inventory import BaseInventoryPlugin, Constructable

ENDINGS = ("pancode.yml", "pancode.yaml")
ANSWER_S = 120


class InventoryModule(BaseInventoryPlugin, Constructable):
    """The inventory `pancode.fleet.fleet`."""

    NAME = "pancode.fleet.fleet"

    def verify_file(self, path):
        return super().verify_file(path) and path.endswith(ENDINGS)

    def parse(self, inventory, loader, path, cache=True):
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        for told in self._ask("node", "ls")["nodes"]:
            self._add(told, self._ask("node", "show", told["name"]))

    def _add(self, told, shown):
        name, target = told["name"], shown["target"]
        self.inventory.add_host(name)
        values = {**_reach(target), "pancode_labels": told["labels"], "pancode_slots": told["slots"]["total"]}
        values |= {"pancode_state": told["state"], "pancode_version": told.get("version")}
        for key, value in values.items():
            if value is not None:
                self.inventory.set_variable(name, key, value)
        for group in _groups(told, shown):
            self.inventory.add_child(self.inventory.add_group(self._sanitize_group_name(group)), name)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), values, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), values, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), values, name, strict=strict)

    def _ask(self, *words):
        argv = [*self.get_option("command"), *words, "--json"]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=ANSWER_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise AnsibleParserError(f"{argv[0]} does not answer: {error}") from error
        if done.returncode != 0:
            raise AnsibleParserError(done.stderr.strip()[-1500:])
        return json.loads(done.stdout)


def _reach(reach):
    """How Ansible gets there: as the coordinator does."""
    if reach["local"]:
        return {"ansible_connection": "local"}
    target = reach["target"]
    keys = target.get("identities") or []
    return {
        "ansible_host": target["host"],
        "ansible_port": target["port"],
        "ansible_user": target["user"] or None,
        "ansible_ssh_private_key_file": keys[0] if keys else None,
    }


def _groups(told, shown):
    groups = ["pancode_nodes", f"state_{told['state']}"]
    groups += [f"label_{key}_{value}" for key, value in sorted(told["labels"].items())]
    ready = shown["facts"].get("runtimes") or []
    return groups + [f"runtime_{runtime['name']}" for runtime in ready if _is_ready(runtime)]


def _is_ready(runtime):
    return runtime["state"] in ("ok", "unknown_version")
