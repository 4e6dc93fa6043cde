#!/usr/bin/python
"""Documents the action plugin `node`, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node
short_description: Make a machine a node of a PanCode fleet, or take everything of the fleet off it
description:
  - Asks the fleet's coordinator for its steps, carries them out over Ansible's own connection and has the
    machine joined. The steps are those of C(pancode fleet up).
  - Either tool takes over from the other and changes nothing.
  - The machine has to be in the fleet's inventory, see C(pancode node add).
options:
  name:
    description: The node's name in the fleet.
    type: str
    required: true
  state:
    description: Whether the machine is to be a node, or to hold nothing of the fleet.
    type: str
    choices: [present, absent]
    default: present
  user:
    description: The login that the node agent runs as. By default the one that Ansible acts as.
    type: str
    default: ""
  command:
    description: The command line of PanCode on the machine where Ansible runs, as an argument list.
    type: list
    elements: str
    default: [pancode]
author:
  - The PanCode authors (@pancode)
attributes:
  check_mode:
    description: Says what would change and changes nothing, neither there nor in the fleet.
    support: full
  diff_mode:
    description: Shows the text of files, but of secret ones, and which steps changed.
    support: full
"""

EXAMPLES = r"""
- name: This machine is a node of the fleet
  pancode.fleet.node:
    name: "{{ inventory_hostname }}"
"""

RETURN = r"""
steps:
  description: The names of the steps that changed, or would change, anything.
  type: list
  elements: str
  returned: always
home:
  description: The node's home there.
  type: str
  returned: always
"""
