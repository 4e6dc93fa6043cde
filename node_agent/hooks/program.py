"""Checks one tool call against the run's policy: `python -I -S program.py PACKAGE LIBRARIES RULES`.

The call is JSON on standard input, in the agent program's format. Status 0 allows it; 2 refuses it, with the
reason on standard error. On any error here, the call is refused.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

if not __package__:
    signal.alarm(45)  # the value of WAIT_S; set before our imports, which may take long on a busy node
    sys.path[:0] = [os.path.dirname(sys.argv[1]), sys.argv[2]]
    sys.path = list(dict.fromkeys(sys.path))

from node_agent.hooks.asking import Asker
from node_agent.policy.judging import Judgement, Where, list_refusals, to_ask
from node_agent.runner.violations import judge_call
from node_agent.runtimes.base import ToolCall
from node_agent.runtimes.claude.tools import call_of as claude_call
from node_agent.runtimes.codex.tools import hook_call as codex_call
from node_agent.runtimes.copilot.tools import call_of as copilot_call
from node_agent.runtimes.gemini.tools import call_of as gemini_call
from node_agent.runtimes.hooks import REFUSED, HookRules
from node_agent.runtimes.opencode.tools import call_of as opencode_call
from node_agent.wire.clock import SystemClock, SystemIds

DENIED = 2
CPU_S, WAIT_S = 5, 45
"""Seconds: more than a check takes, but less than agent programs wait: most allow a call after that."""
ASKING_CPU_S = 120
"""CPU seconds that suffice for one check per second, for as long as a user may take."""
MOST_BYTES = 4 << 20
_CALLS: Mapping[str, Callable[[str, dict[str, Any]], ToolCall]] = {
    "claude": claude_call,
    "codex": codex_call,
    "copilot": copilot_call,
    "gemini": gemini_call,
    "opencode": opencode_call,
}
SPEAKING = frozenset(_CALLS)
"""The runtimes whose calls this program can read."""


def judge_event(rules: HookRules, event: Mapping[str, Any], home: str, asker: Asker | None = None) -> str:
    """Return the reason why the call is refused, for the model and for users; empty if it is allowed."""
    tool, given = _call(event)
    call = _CALLS[rules.runtime](tool, given)
    where = Where(rules.top, home, rules.folder)
    texts = (_format_refusal(rules, one, call, asker) for one in judge_call(rules.policy, where, call))
    return next(filter(None, texts), "")


def _format_refusal(rules: HookRules, judgement: Judgement, call: ToolCall, asker: Asker | None) -> str:
    """Return the text of the refusal; empty if allowed. If only rules with approval forbid the call, a user
    decides."""
    words = list_refusals(rules.policy, judgement)
    rules_to_ask = to_ask(rules.policy, judgement) if asker is not None and call.command else []
    if asker is not None and rules_to_ask:
        return asker.refusal(call.command, rules_to_ask)
    return words[0] if words else ""


def _call(event: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the call's tool and arguments; some programs send the arguments as JSON text."""
    tool = event.get("tool_name", event.get("toolName"))
    given = event.get("tool_input", event.get("toolArgs"))
    given = json.loads(given) if isinstance(given, str) else given
    if not isinstance(tool, str) or not isinstance(given, dict):
        raise ValueError("a tool call must have a name and arguments")
    return tool, given


def main(argv: list[str]) -> int:
    """Run the hook; return its exit status."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, ASKING_CPU_S))
    rules = HookRules.model_validate_json(Path(argv[3]).read_bytes())
    event = json.loads(sys.stdin.buffer.read(MOST_BYTES))
    words = judge_event(rules, event, os.path.expanduser("~"), _make_asker(rules))
    return _tell(rules.runtime, words) if words else 0


def _make_asker(rules: HookRules) -> Asker | None:
    """Return an Asker if a rule needs one. It raises the time and CPU limits of calls without a question."""
    return None if rules.desk is None else Asker(rules.desk, SystemClock(), SystemIds(), _pause)


def _pause(seconds: float) -> None:
    signal.alarm(WAIT_S)
    resource.setrlimit(resource.RLIMIT_CPU, (ASKING_CPU_S, ASKING_CPU_S))
    threading.Event().wait(seconds)


def _tell(runtime: str, words: str) -> int:
    """Write the refusal; return the exit status. Copilot does not show standard error to its model."""
    message = f"{REFUSED}: {words}"
    if runtime == "copilot":
        sys.stdout.write(json.dumps({"permissionDecision": "deny", "permissionDecisionReason": message}))
        return 0
    sys.stderr.write(message)
    return DENIED


if __name__ == "__main__":
    try:
        status = main(sys.argv)
    except Exception as exc:  # any error refuses the call
        sys.stderr.write(f"{REFUSED}: the run's policy could not be checked: {exc}")
        status = DENIED
    sys.exit(status)
