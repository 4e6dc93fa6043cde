"""The settings of a native worker, a file in the run's home that contains no key, task or prompt."""

from __future__ import annotations

from collections.abc import Mapping

from node_agent.wire.endpoint import Sampling
from node_agent.wire.fleet import FleetTerms
from node_agent.wire.identity import ApprovalChannel, TurnTerms
from node_agent.wire.model import WireModel
from node_agent.wire.policy import Policy, Safety

VERSION = "1"
"""The version of the worker's event stream and of its spec file."""
FILE, PROMPT, SESSION = "native.json", "prompt.md", "session.json"
GOES_ON = (
    "[The conversation continues in a new checkout: look which changes are there before you rely on them.]"
)
"""Precedes the message of a run that continues a session."""
TOOLS = ("read", "write", "edit", "bash", "grep", "find", "ls")
CHANGES = "changes"
"""The tool that reads the git history, for a run that may read but has no shell, if git is installed."""

SKILL, SKILLS = "skill", "pancode/skills"
"""The tool that reads the run's skills, and the folder of the run's home that contains them."""


class MadeTool(WireModel):
    """A tool stored by the project. `run`: its program, which reads JSON; `form`: the input's JSON schema."""

    name: str
    about: str
    form: str
    run: str
    seconds: int


class WorkerSpec(WireModel):
    """The settings of a worker for one run. `key_name`, `url_name`: names of variables; `url` is used if the
    variable `url_name` is not set; `suffix` is appended to either address.

    `top` is the checkout, `folder` the path below it where the run begins. `walled`: the run is in a sandbox.
    `context`: the model's context size in tokens; None if unknown.
    """

    model: str
    key_name: str
    url_name: str
    url: str
    suffix: str = ""
    is_hosted: bool = False
    """Whether a vendor hosts the model, as no other server is set: then an unknown context counts as
    large."""
    through_gateway: bool = False
    """Whether model calls go through the run's model gateway, whose address differs in each run."""
    newest: bool = False
    """Whether the server is OpenAI's own, which needs the newer parameter for the answer's token limit."""
    hidden: tuple[str, ...] = ()
    """Variables that are hidden from the run's commands."""
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
    """Maximum model calls. `answers`: the owner's turn limit; `wrap_up`: if a final text answer follows."""
    answers: int | None = None
    wrap_up: bool = False
    sampling: Sampling | None = None
    output_bytes: int
    thinks: str = ""
    """The reasoning effort, as OpenAI's chat API names it."""
    resume: str = ""
    desk: ApprovalChannel | None = None
    """The address at which the worker requests a user's decision about a command."""
    interactive_run: TurnTerms | None = None
    """Settings for a run that takes turns with users; None: the run ends with its answer."""
    skills: Mapping[str, str] = {}
    """The description of each of the run's skills, by name."""
    fleet: FleetTerms | None = None
    """The fleet tools that the agent may call."""
    made: tuple[MadeTool, ...] = ()
    """Tools made by agents and approved by a user; usable only in a sandbox."""
