"""Parts that all launches share: how the task is passed, rules that flags enforce, the probe by key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from node_agent.runtimes.base import LaunchRequest, Place, Probe, Program, Said, any_given, may_write
from node_agent.wire.node import RuntimeFact
from node_agent.wire.policy import Enforcement, Isolation, Mode, Safety

GUARD = "guard.cjs"
_SOURCE = """\
const fs = require("fs");
const homes = [process.env.HOME, fs.realpathSync(process.env.HOME)].map((home) => `${home}/`);
const hidden = (path, names) =>
  names.some((name) => `${path}`.endsWith(`/${name}`)) && !homes.some((home) => `${path}`.startsWith(home));
const { existsSync } = fs, { access } = fs.promises;
fs.existsSync = (path) => !hidden(path, SETTINGS) && existsSync(path);
fs.promises.access = async (path, mode) => {
  if (hidden(path, WORDS)) throw Object.assign(new Error("ENOENT"), { code: "ENOENT" });
  return access(path, mode);
};
const { stat, readdir } = fs.promises;
const unless = (looks) => async (path, ...more) => {
  if (hidden(path, SKILLS)) throw Object.assign(new Error("ENOENT"), { code: "ENOENT" });
  return looks(path, ...more);
};
Object.assign(fs.promises, { stat: unless(stat), readdir: unless(readdir) });
require("module").syncBuiltinESMExports();
delete process.env.NODE_OPTIONS;
"""


def build_guard(
    settings: Sequence[str], words: Sequence[str], skills: Sequence[str] = ()
) -> Mapping[str, bytes]:
    """The guard as a file of the home: it hides files of the repository from the program. `settings`: those
    looked for at once; `words`: those looked for and awaited.

    `skills`: folders of skills, of which only those of the run's home are read.
    """
    lists = {"SETTINGS": settings, "WORDS": words, "SKILLS": skills}
    source = _SOURCE
    for name, entries in lists.items():
        source = source.replace(name, json.dumps(entries))
    return {GUARD: source.encode()}


def guard_environment(home: str) -> dict[str, str]:
    """The variable that loads the guard into the program; the guard removes it for child processes."""
    return {"NODE_OPTIONS": f"--require={json.dumps(f'{home}/{GUARD}')}"}


HEAD = "Task:\n"
"""A first line of our own: some programs take a task that begins with a slash for one of their commands."""


def task_of(request: LaunchRequest) -> bytes:
    """Return the task as standard input: no command line ever has a user's text. In an interactive run it is
    exactly as a user said it: our program adds the head to the words of each turn that need it.
    """
    if request.interactive_run is not None:
        return request.task.encode("utf-8", "surrogateescape")
    return f"{HEAD}{request.task}\n".encode("utf-8", "surrogateescape")


def prompt_in(name: str, request: LaunchRequest, front: str = "") -> dict[str, bytes]:
    """Return the agent's instructions as a file of that name, after `front`; no file without instructions."""
    return {name: f"{front}{request.prompt}".encode("utf-8", "surrogateescape")} if request.prompt else {}


NEVER = ("git push", "git rebase", "git reset --hard", "git filter-branch", "rm -rf", "rm -fr")
"""Prefixes of commands that no level below full-auto allows, for programs that have such rules of their own.

Hook and sandbox stop these and many more; this is one more lock, inside the program.
"""


def has_shell(request: LaunchRequest, place: Place) -> bool:
    """Whether the agent's level gives it a shell on this node; auto-edit does so only inside a sandbox."""
    if not request.may_write or not request.has("bash"):
        return False
    return request.safety is Safety.FULL_AUTO or place.isolation is Isolation.SANDBOX


def is_fenced(request: LaunchRequest, place: Place) -> bool:
    """Whether the agent has a shell and is to be kept from destructive commands in it."""
    return has_shell(request, place) and request.safety is not Safety.FULL_AUTO


def held_but_full_auto(mode: Mode, safety: Safety, read_only: bool, isolation: Isolation) -> Enforcement:
    """The grades of a program whose flags hold read-only and auto-edit, and whose shell needs a sandbox."""
    if isolation is Isolation.SANDBOX:
        return Enforcement.SANDBOX
    if may_write(mode, safety, read_only) and safety is Safety.FULL_AUTO:
        return Enforcement.TOLD_ONLY
    return Enforcement.RUNTIME


def make_probe(program: Program, credentials: Sequence[str]) -> Probe:
    """The probe of a program that one of these variables logs in: `--version`, and whether one is given."""

    def read(results: Sequence[Said]) -> RuntimeFact:
        version, (given, _) = [*results, (None, ""), (None, "")][:2]
        return program.fact(version, given == 0)

    return Probe((program.asks_version, any_given(credentials)), read)
