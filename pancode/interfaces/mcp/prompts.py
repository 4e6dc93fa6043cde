"""The prompts of the MCP server, which a user picks in a client to begin work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pancode.interfaces.mcp.protocol import ParamsError

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class McpPrompt:
    """A prompt of the MCP server. `words`: its text, with `{argument}` where the user's own text goes."""

    name: str
    title: str
    description: str
    words: str
    argument: str = ""
    about: str = ""

    def listed(self) -> Json:
        """Return the prompt as `prompts/list` shows it."""
        wanted = [{"name": self.argument, "description": self.about, "required": False}]
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "arguments": wanted if self.argument else [],
        }


PROMPTS = (
    McpPrompt(
        "hand-over",
        "Hand this over",
        "Give the work of this conversation, or a task, to an agent on another node of the fleet.",
        "Hand this over to the fleet: {task}\n"
        "Write the whole task, since the agent sees nothing of our conversation: the goal, the files, what "
        "has been tried, how it is proved. Call dispatch with the commands of the project that prove it as "
        "gates (verify). Tell me the run, and wait for it only if I ask for that.",
        "task",
        "what to do; default: what we are working on",
    ),
    McpPrompt(
        "review",
        "Review what came back",
        "Review the change of a run before it is landed.",
        "Review what came back: {run}\n"
        "Read run_show and diff. Say in short whether the task is met, whether gates have passed (no gate is "
        "no proof), and what is wrong, by file and line. Then advise one of: land, send back with words "
        "(continue_run), retry, put aside. Do not land before I say yes.",
        "run",
        "a run; default: the newest that is done and not landed",
    ),
    McpPrompt(
        "morning",
        "Morning",
        "What happened, what waits for you, what it has cost.",
        "Give me the morning's picture of the fleet, in at most 12 lines: call inbox, and runs with since "
        "16h. First what waits for me, each with the act that it asks for; then what is done and not "
        "landed; then what failed and why; then nodes in trouble. Change nothing.",
    ),
)
NOTHING = {"task": "what we are working on now", "run": "the newest run that is done and not landed"}


def list_prompts() -> list[Json]:
    return [one.listed() for one in PROMPTS]


def prompt_of(name: str, given: Json) -> Json:
    """Return the result of `prompts/get`. Raises ParamsError for an unknown prompt."""
    found = next((one for one in PROMPTS if one.name == name), None)
    if found is None:
        names = ", ".join(one.name for one in PROMPTS)
        raise ParamsError(f"prompt {name[:100]} not found; use one of {names}")
    words = found.words
    if found.argument:
        value = given.get(found.argument)
        word = value if isinstance(value, str) and value.strip() else NOTHING[found.argument]
        words = words.replace(f"{{{found.argument}}}", word)
    message = {"role": "user", "content": {"type": "text", "text": words}}
    return {"description": found.description, "messages": [message]}
