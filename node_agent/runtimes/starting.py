"""Shared parts of launches: passing the task, rules that command-line flags enforce, and the login probe."""

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
    """Return the guard by file name: a Node.js file for the run's home that hides files from the program,
    except those in that home. `settings`: names hidden from synchronous checks; `words`: names hidden from
    asynchronous checks; `skills`: hidden skill folders."""
    lists = {"SETTINGS": settings, "WORDS": words, "SKILLS": skills}
    source = _SOURCE
    for name, entries in lists.items():
        source = source.replace(name, json.dumps(entries))
    return {GUARD: source.encode()}


def guard_environment(home: str) -> dict[str, str]:
    """Return the variable that loads the guard into the program; the guard removes it for child processes."""
    return {"NODE_OPTIONS": f"--require={json.dumps(f'{home}/{GUARD}')}"}


HEAD = "Task:\n"
"""The task's first line: some programs read a task that begins with a slash as one of their own commands."""


def task_of(request: LaunchRequest) -> bytes:
    """Return the task for standard input: user text never goes on a command line. In an interactive run it is
    unchanged: the program that passes on the messages adds the first line where needed."""
    if request.interactive_run is not None:
        return request.task.encode("utf-8", "surrogateescape")
    return f"{HEAD}{request.task}\n".encode("utf-8", "surrogateescape")


def prompt_in(name: str, request: LaunchRequest, front: str = "") -> dict[str, bytes]:
    """Return the agent's instructions as file `name`, after the text `front`; empty without instructions."""
    return {name: f"{front}{request.prompt}".encode("utf-8", "surrogateescape")} if request.prompt else {}


NEVER = ("git push", "git rebase", "git reset --hard", "git filter-branch", "rm -rf", "rm -fr")
"""Prefixes of commands that only full-auto allows, for programs with command rules of their own.

PanCode's hook and sandbox stop these commands and many more; the rules are an additional check.
"""


def has_shell(request: LaunchRequest, place: Place) -> bool:
    """Whether the agent's safety level allows a shell on this node; auto-edit needs a sandbox for that."""
    if not request.may_write or not request.has("bash"):
        return False
    return request.safety is Safety.FULL_AUTO or place.isolation is Isolation.SANDBOX


def is_fenced(request: LaunchRequest, place: Place) -> bool:
    """Whether the agent has a shell in which destructive commands must be blocked."""
    return has_shell(request, place) and request.safety is not Safety.FULL_AUTO


def held_but_full_auto(mode: Mode, safety: Safety, read_only: bool, isolation: Isolation) -> Enforcement:
    """Return how the policy is enforced for a program whose flags enforce each safety level but full-auto."""
    if isolation is Isolation.SANDBOX:
        return Enforcement.SANDBOX
    if may_write(mode, safety, read_only) and safety is Safety.FULL_AUTO:
        return Enforcement.TOLD_ONLY
    return Enforcement.RUNTIME


def make_probe(program: Program, credentials: Sequence[str]) -> Probe:
    """Return the probe: it runs `--version` and checks whether one of the variables `credentials` is set."""

    def read(results: Sequence[Said]) -> RuntimeFact:
        version, (given, _) = [*results, (None, ""), (None, "")][:2]
        return program.fact(version, given == 0)

    return Probe((program.asks_version, any_given(credentials)), read)
