"""The native worker's settings, a file in its run's home: no key, no task, no prompt."""

from __future__ import annotations

from collections.abc import Mapping

from node_agent.wire.endpoint import Sampling
from node_agent.wire.fleet import FleetTerms
from node_agent.wire.identity import CallDesk, TurnTerms
from node_agent.wire.model import WireModel
from node_agent.wire.policy import Policy, Safety

VERSION = "1"
"""The version of the worker's stream and of this file."""
FILE, PROMPT, SESSION = "native.json", "prompt.md", "session.json"
GOES_ON = (
    "We go on with our conversation. The files are a new checkout at the same place. Look which of your "
    "changes are there before you rely on them."
)
"""Before the words of a run that goes on with a session."""
TOOLS = ("read", "write", "edit", "bash", "grep", "find", "ls")
CHANGES = "changes"
"""Reads the history: a tool of each run that reads and has no shell, where git itself is there."""

SKILL, SKILLS = "skill", "pancode/skills"
"""Reads the skills of a run that has some; the folder of its home in which they lie."""


class MadeTool(WireModel):
    """A kept tool of the project. `run`: its program, which reads JSON; `form`: the schema of that."""

    name: str
    about: str
    form: str
    run: str
    seconds: int


class WorkerSpec(WireModel):
    """One run. `key_name`, `url_name`: variables; `url` counts where the second is not set;
    `suffix` is put behind either.

    `top` is the checkout, `folder` where below it the run begins. `walled`: a sandbox stands around the run.
    `context`: tokens that the model can use, None where nobody knows.
    """

    model: str
    key_name: str
    url_name: str
    url: str
    suffix: str = ""
    is_hosted: bool = False
    """Whether a vendor hosts the model, because no other server is given: then an unknown context counts as
    large."""
    newest: bool = False
    """OpenAI's own servers, which want the limit of an answer under its new name."""
    hidden: tuple[str, ...] = ()
    """Variables that no command of the run may see."""
    top: str
    folder: str = ""
    home: str
    tools: tuple[str, ...]
    policy: Policy
    safety: Safety
    writes: bool
    walled: bool
    context: int | None = None
    wall_ms: int
    tokens: int | None = None
    turns: int | None = None
    """Calls of the model; `answers`: what its owner calls turns, with a last one in words where `wrap_up`."""
    answers: int | None = None
    wrap_up: bool = False
    sampling: Sampling | None = None
    output_bytes: int
    thinks: str = ""
    """The reasoning effort, in the words of OpenAI's chat wire."""
    resume: str = ""
    desk: CallDesk | None = None
    """The place where a person is asked about a command."""
    sitting: TurnTerms | None = None
    """The run takes turns with people; None: it ends with its answer."""
    skills: Mapping[str, str] = {}
    """What each skill of the run is about, by name."""
    fleet: FleetTerms | None = None
    """The tools of the fleet that it may ask for."""
    made: tuple[MadeTool, ...] = ()
    """Tools that agents have made and a person has kept: only in a sandbox."""
