"""`pancode admin steps`: gives the steps of bring-up and removal to another tool, one JSON line each."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Annotated, Any

from pancode.fleet.answers import CLEANED, NodeResultShape
from pancode.interfaces.cli.output import describe_caller, find_user
from pancode.interfaces.cli.parameters import Json, option, verb
from pancode.interfaces.client.client import Client, path_of
from pancode.kernel.errors import ExitCode, UsageError


@verb("admin steps", "gpubox < answers")
def steps(
    name: str,
    *,
    check: Annotated[bool, option("Change nothing, here or on the node.")] = False,
    remove: Annotated[
        bool, option("Print the steps that remove everything of this fleet from the node.")
    ] = False,
    face: Json,
) -> int:
    """Pass the steps of `fleet up` as JSON to a tool with its own access to the node, such as Ansible.

    Both exchange lines of JSON: the command prints the probe and reads `{"output": ...}`; it prints the steps
    and reads `{"key": ..., "changed": [...]}`; if the key is new, it prints the steps again. Finally it
    brings the node up over its own link as `fleet up` does, which should find nothing to do, and prints the
    result.

    With --remove, `changed` lists what the tool removed; it is sent after a check that nothing is left. A
    node that was removed but not cleaned then leaves the fleet.
    """
    client = face.client(works=not check)

    def ask(**words: Any) -> dict[str, Any]:
        """Print the coordinator's answer to this request as a line, and return it."""
        answer: dict[str, Any] = client.post(path_of("nodes", name, "steps"), {"by": find_user(), **words})
        _say(answer)
        return answer

    ask(remove=remove)
    probe = _read_answer("output")["output"]
    plan = ask(probe=probe, remove=remove)
    done = _read_answer("changed")
    if remove and not check and done["changed"]:
        client.post(CLEANED.at(name), {"by": find_user()})
    if check or remove:
        return ExitCode.DONE
    if done.get("key") and done["key"] != plan["key"]:
        ask(probe=probe, key=done["key"])
        _read_answer("changed")
    results = bring_up(client, {**describe_caller(), "nodes": [name]})
    closed = [{"what": "the coordinator closed the connection", "fix": ""}]
    result = next((one for one in results if one["node"] == name), None)
    _say({"result": result or {"ok": False, "changed": [], "problems": closed}})
    return ExitCode.DONE if result is not None and result["ok"] else ExitCode.UNAVAILABLE


def bring_up(client: Client, body: dict[str, object]) -> list[NodeResultShape]:
    """Bring nodes up, and return a result for each; empty if the connection was closed before."""
    for event in client.events("POST", "/v1/fleet/up", body):
        if event.kind == "result":
            results: list[NodeResultShape] = event.data["results"]
            return results
    return []


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _read_answer(key: str) -> dict[str, Any]:
    line, answer = sys.stdin.readline(), None
    with suppress(ValueError):
        answer = json.loads(line)
    if not isinstance(answer, dict) or key not in answer:
        why = f"expected a JSON object with {key!r}, not {line[:80]!r}"
        raise UsageError("cannot read the tool's answer", why=why, code="no_answer")
    return answer
