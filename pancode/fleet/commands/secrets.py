"""`pancode node secret`: writes a value into the secrets file on a node."""

from __future__ import annotations

import getpass
import os
import sys

from pancode.fleet.answers import NODE
from pancode.interfaces.cli.node_report import facts_after
from pancode.interfaces.cli.parameters import Face, Json, Node, verb
from pancode.interfaces.client.client import home_of
from pancode.kernel.errors import UsageError

MOST = 1 << 20


@verb(
    "node secret",
    "pancode node secret gpubox ANTHROPIC_API_KEY",
    "pass show openai | pancode node secret gpubox OPENAI_API_KEY",
)
def keep_secret(node: Node, name: str, face: Json) -> None:
    """Store a value in secrets.json of NODE, under NAME, from standard input or from a hidden prompt.

    The other values remain. The value goes directly to the node; the coordinator never has it. The command
    waits up to 5 seconds for the node to report that the programs that use it are logged in.
    """
    from node_agent.runtimes.registry import RUNTIMES
    from pancode.fleet.login import set_secret

    home_of(os.environ)  # this machine's SSH connects to the node
    client = face.client()
    answer = client.get(NODE.at(node))
    words = set_secret(answer["name"], answer["target"], name, _read_value(face, node, name), os.environ)
    takers = {one.name for one in RUNTIMES.values() if name in one.credentials}
    facts = facts_after(client, answer["name"], takers, ("not_logged_in",))
    lacking = [one for one, fact in facts.items() if fact["state"] == "not_logged_in"]
    if lacking:
        face.note(f"{answer['name']} has not said yet that it is enough for {', '.join(lacking)}")
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
