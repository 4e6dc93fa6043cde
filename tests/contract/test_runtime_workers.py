"""The streams of our own workers, as the real programs wrote them against the scripted model server.

`python -m tests.clis.record native` (or `claude-sdk`, `openai-agents`) records them anew; that they are still
what the native worker writes is shown in tests/clis/test_record.py.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from node_agent.runtimes.base import Denial, Ran, Retrying, SessionStarted, TextPiece, ToolCall, UsageGrew
from node_agent.runtimes.registry import RUNTIMES
from node_agent.runtimes.workerspec import TOOLS
from node_agent.runtimes.workerstream import WorkerParser
from node_agent.wire.failure import FailureKind as F
from node_agent.wire.policy import ActionClass as A
from tests.clis.install import VERSIONS
from tests.contract.transcripts import Case, asked_for, cases, command, output, verdict
from tests.unit.node_agent.runtimes.asked import ask, place

DONE = "Done: the work is finished."
NO, ONE, TWO, THREE = (0, 0, 0), (1200, 500, 34), (2400, 1000, 68), (3600, 1500, 102)
NATIVE = {
    "ok-text": Case(None, ONE, None, 1, "Hello from the model."),
    "ok-edit": Case(None, THREE, None, 3, f"{DONE}\n\nScope: ", (A.FILE_READ, A.FILE_WRITE)),
    "ok-shell": Case(None, TWO, None, 2, f"{DONE}\n\nScope: ", (A.SHELL,)),
    "tool-denied": Case(
        F.TOOL_DENIED, THREE, None, 3, f"{DONE}\n\nScope: ", (A.FILE_WRITE, A.SHELL), ("write", "bash")
    ),
    "shell-denied": Case(F.TOOL_DENIED, TWO, None, 2, f"{DONE}\n\nScope: ", (A.SHELL,), ("bash",)),
    "http-401": Case(F.MODEL_AUTH, NO, "0", 0),
    "http-429": Case(F.MODEL_BUSY, NO, "0", 0),
    "http-500": Case(F.MODEL_FAILED, NO, None, 0),
    "bad-stream": Case(F.MODEL_FAILED, NO, None, 0),
    "cut-stream": Case(F.MODEL_FAILED, NO, None, 0),
    "refusal": Case(F.AGENT_FAILED, ONE, None, 1),
    "stalled": Case(F.NO_ANSWER, NO, None, 0),
    "sigint": Case(F.NO_ANSWER, NO, None, 0),
    "sigterm-shell": Case(F.NO_ANSWER, ONE, None, 1, calls=(A.SHELL,)),
}
EXPECTED = {
    "native": NATIVE,
    "openai-agents": NATIVE,
    "claude-sdk": {
        **NATIVE,
        "refusal": Case(F.AGENT_FAILED, TWO, None, 2),  # its program asked a second time
        "sigterm-shell": Case(F.NO_ANSWER, NO, None, 0, calls=(A.SHELL,)),  # it tells tokens at its end
    },
}
MODELS = {"native": "fake-coder", "openai-agents": "fake-coder", "claude-sdk": "claude-sonnet-4-5"}
ALL = [(runtime, case) for runtime in EXPECTED for case in cases(runtime)]


@pytest.mark.parametrize(("runtime", "case"), ALL)
def test_outcome_usage_and_session(runtime: str, case: str) -> None:
    told = verdict(runtime, case)
    EXPECTED[runtime][case].check(told)
    if output(runtime, case):
        assert (told.session, told.version) == ("SESSION", VERSIONS[runtime])


@pytest.mark.parametrize("runtime", EXPECTED)
def test_activities_come_as_they_happen(runtime: str) -> None:
    seen = WorkerParser(ask(model=MODELS[runtime])).feed(output(runtime, "ok-edit"))
    started = next(a for a in seen if isinstance(a, SessionStarted))
    assert started == SessionStarted("SESSION", MODELS[runtime])
    calls = [a for a in seen if isinstance(a, ToolCall)]
    assert [(c.tool, c.detail) for c in calls] == [("read", "$WORK/notes.txt"), ("edit", "$WORK/notes.txt")]
    assert [a.call for a in seen if isinstance(a, Ran) and a.ok] == calls
    assert [a.text for a in seen if isinstance(a, TextPiece)] == ["I edit the file.", DONE]
    grew = [a.usage.output_tokens for a in seen if isinstance(a, UsageGrew)]
    assert grew == ([102] if runtime == "claude-sdk" else [34, 68, 102])
    denied = [a for a in WorkerParser(ask()).feed(output(runtime, "tool-denied")) if isinstance(a, Denial)]
    assert [d.action for d in denied] == [A.FILE_WRITE, A.SHELL]


def test_the_native_worker_tells_of_each_wait_for_its_server() -> None:
    """The SDKs ask again without a word."""
    retries = [a for a in WorkerParser(ask()).feed(output("native", "http-429")) if isinstance(a, Retrying)]
    assert [one.status for one in retries] == [429, 429]


@pytest.mark.parametrize(("runtime", "case"), ALL)
def test_the_command_line_is_the_one_that_was_recorded(runtime: str, case: str) -> None:
    recorded = command(runtime, case)
    given = {
        name: value for name, value in recorded["env"].items() if name.endswith(("_KEY", "_URL", "_RETRIES"))
    }
    request = replace(asked_for(recorded, MODELS[runtime]), tools=TOOLS)
    at = place(python="$PYTHON", package="$PACKAGE", libraries="$LIBRARIES", env=given)
    made = RUNTIMES[runtime].launch(request, at)
    assert list(made.argv) == recorded["argv"]
    assert json.dumps(recorded["stdin"])[1:-1] in json.dumps(made.stdin.decode())
    own = {name: value for name, value in made.env.items() if name != "PATH"}
    assert own == {name: value for name, value in recorded["env"].items() if name != "PATH"}
