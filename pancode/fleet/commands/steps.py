"""`pancode admin steps`: passes the steps of bring-up and removal to another tool, one line each."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

from pancode.fleet.answers import CLEANED
from pancode.interfaces.cli.output import describe_caller, find_user
from pancode.interfaces.cli.parameters import Json, option, verb
from pancode.interfaces.client.client import Client, path_of
from pancode.kernel.errors import ExitCode, UsageError


@verb("admin steps", "pancode admin steps gpubox < answers")
def steps(
    name: str,
    *,
    check: Annotated[bool, option("Change nothing, here or on the node.", "--check")] = False,
    remove: Annotated[
        bool, option("The steps that remove everything of this fleet from the node.", "--remove")
    ] = False,
    face: Json,
) -> int:
    """Pass the steps of `fleet up` as JSON to a tool with its own access to the node, such as Ansible.

    An exchange of JSON lines: the command prints the probe and reads `{"output": ...}`; it prints the steps
    and reads `{"key": ..., "changed": [...]}`; if the key is new, it prints the steps again. At last it
    brings the node up over its own link as `fleet up` does, which should find nothing to do, and prints the
    result.

    With --remove, `changed` is what was there: the tool sends it after checking that nothing is left. A node
    that was removed but not cleaned is then out of the fleet.
    """
    client = face.client(works=not check)
    talk = _Talk(client, name)
    talk.say(talk.ask(remove=remove))
    probe = talk.heard("output")["output"]
    plan = talk.ask(probe=probe, remove=remove)
    talk.say(plan)
    done = talk.heard("changed")
    if remove and not check and done["changed"]:
        client.post(CLEANED.at(name), {"by": find_user()})
    if check or remove:
        return ExitCode.DONE
    if done.get("key") and done["key"] != plan["key"]:
        talk.say(talk.ask(probe=probe, key=done["key"]))
        talk.heard("changed")
    result = talk.joined()
    talk.say({"result": result})
    return ExitCode.DONE if result["ok"] else ExitCode.UNAVAILABLE


class _Talk:
    """The exchange of single lines in turn, on standard output and standard input."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self._name = client, name

    def ask(self, **words: Any) -> dict[str, Any]:
        path, body = path_of("nodes", self._name, "steps"), {"by": find_user(), **words}
        answer: dict[str, Any] = self._client.post(path, body)
        return answer

    def say(self, line: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    def heard(self, key: str) -> dict[str, Any]:
        line = sys.stdin.readline()
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or key not in answer:
            why = f"a JSON object with {key!r} was expected, not {line[:80]!r}"
            raise UsageError("cannot read the tool's answer", why=why, code="no_answer")
        return answer

    def joined(self) -> dict[str, Any]:
        """Bring the node up, as `fleet up NAME` does, without printing the steps; return its result."""
        body = {**describe_caller(), "nodes": [self._name]}
        for event in self._client.events("POST", "/v1/fleet/up", body):
            if event.kind == "result":
                return next(r for r in event.data["results"] if r["node"] == self._name)
        return {"ok": False, "changed": [], "problems": [{"what": "the coordinator went away", "fix": ""}]}
