"""Decides whether a tool call is allowed, by the agent's tools, the safety level and users' rules. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from node_agent.policy.commands.programs import Use
from node_agent.policy.commands.tree import get_ready
from node_agent.policy.judging import Judgement, Where, judge_command, judge_path, list_refusals, to_ask
from node_agent.runtimes.workerspec import WorkerSpec
from node_agent.wire.policy import CommandRule, Safety

Ask = Callable[[str, Sequence[CommandRule]], str]
"""Ask a user about a command; return the reason of a refusal, or an empty string if it is allowed."""
_BARE = (
    "commands need full-auto or a sandbox, and this node has none; read, edit and search with the other tools"
)
_LOOKS = "this run is read-only: only reading commands such as git log, ls or grep are allowed"


class Denied(Exception):
    """The error when a call is not allowed; the text is the reason for the model and for users."""


class Judge:
    """Decides about the calls of one run."""

    def __init__(self, spec: WorkerSpec, home: str, ask: Ask | None = None) -> None:
        """`home`: the path for `~` in rules. If `ask` is None, a rule that requires approval denies."""
        self._spec, self._ask = spec, ask
        self._where = Where(spec.top, home)
        self._begins = Where(spec.top, home, spec.folder)

    def get_ready(self) -> None:
        """Start the command parser during a wait for a user, so that the first question is not delayed."""
        if self._ask is not None:
            get_ready()

    def tool(self, name: str) -> None:
        """Raise Denied for a tool that the run does not have."""
        if name not in self._spec.tools:
            have = ", ".join(self._spec.tools) or "none"
            raise Denied(f"{name} is not a tool of this run; its tools are {have}")

    def path(self, name: str, use: Use) -> None:
        """Check a use of a real path, relative to the checkout's top. Raises Denied."""
        if use is not Use.READ and not self._spec.writes:
            raise Denied(f"{use} {name}: this run changes no files")
        judgement = judge_path(self._spec.policy, name, use, self._where)
        if judgement.offences:
            raise Denied(judgement.offences[0].words)

    def hides(self, name: str) -> bool:
        """Whether a search leaves out the path."""
        return bool(judge_path(self._spec.policy, name, Use.READ, self._where).offences)

    def command(self, text: str) -> Judgement:
        """Return the judgement of a shell script. Raises Denied."""
        spec = self._spec
        if spec.safety is not Safety.FULL_AUTO and not spec.walled:
            raise Denied(_BARE)
        judgement = judge_command(spec.policy, text, self._begins)
        if not spec.writes and not judgement.only_looks:
            raise Denied(_LOOKS)
        words = list_refusals(spec.policy, judgement)
        rules = to_ask(spec.policy, judgement)
        if self._ask is not None and rules:
            words = list(filter(None, [self._ask(text, rules)]))
        if words:
            raise Denied(words[0])
        return judgement
