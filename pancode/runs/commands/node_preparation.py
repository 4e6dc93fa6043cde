"""Prepares nodes for a dispatch: starts them, and installs a missing agent program."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pancode.fleet.answers import FLEET
from pancode.interfaces.cli.node_report import facts_after
from pancode.interfaces.cli.parameters import Face
from pancode.interfaces.client.client import Client
from pancode.kernel.errors import ApiError, ExitCode
from pancode.runs.answers import QueuedAnswer


@dataclass(frozen=True, slots=True)
class NodePreparation:
    """Applies fixes that a dispatch needs. `is_agreed`: install a missing agent program without asking."""

    face: Face
    client: Client
    is_agreed: bool
    verbose: bool

    def ask(self, queue: Callable[[], QueuedAnswer], followed: frozenset[str] = frozenset()) -> QueuedAnswer:
        """Return what `queue` returns. If it is refused, apply the refusal's fix and retry, once per fix."""
        try:
            return queue()
        except ApiError as refused:
            fix = refused.fix
            if fix in followed or not self.follow(refused):
                raise
        return self.ask(queue, followed | {fix})

    def follow(self, refused: ApiError) -> bool:
        """Apply the refusal's first fix (start a node, install a program); return whether it was applied."""
        match re.split("[,;]", refused.fix)[0].split():
            case ["pancode", "fleet", "up", *nodes] if nodes:
                return self.start(nodes)
            case ["pancode", "node", "install", node, runtime]:
                if not self.is_agreed and not self.face.can_ask():
                    refused.fix = f"add --install; or run first: {refused.fix}"
                    return False
                return self.install(node, runtime)
        return False

    def start(self, nodes: list[str]) -> bool:
        """Start these nodes; return whether one of them accepts work now."""
        from pancode.fleet.commands.fleet import bring_up

        return bring_up(self.face, self.client, nodes, verbose=self.verbose)

    def start_for(self, named: str | None, *, detach: bool) -> bool:
        """Start the nodes that could take a run if none of them is up; return whether one accepts work now.

        `named`: the only node that may take the run. `detach`: do not wait for nodes that may be unreachable.
        """
        nodes = [one for one in self.client.get(FLEET)["nodes"] if named in (None, one["name"])]
        silent = ("new", "halted", *(() if detach else ("suspect", "unreachable", "lost")))
        asleep = [one["name"] for one in nodes if one["state"] in silent]
        return bool(asleep) and len(asleep) == len(nodes) and self.start(asleep)

    def install(self, node: str, runtime: str) -> bool:
        """Ask the user, install the program on the node and log in; return whether it is now installed."""
        from pancode.interfaces.cli.main import run

        question = f"{node} has no {runtime}. Install it there?"
        if not self.is_agreed and not self.face.confirm(question, "--install"):
            return False
        if run(["node", "install", node, runtime]) != ExitCode.DONE:
            return False
        fact = facts_after(self.client, node, (runtime,), ("missing", "looking")).get(runtime)
        needs_login = fact is not None and fact["state"] == "not_logged_in" and self.face.can_ask()
        if needs_login:  # If the login fails, admission reports it with the command to use.
            run(["node", "login", node, runtime])
        return True
