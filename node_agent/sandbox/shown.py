"""The parts of a machine that a phase in the sandbox sees: folders of programs, our files, the gateway."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from node_agent.attempt.plans import DEPTH
from node_agent.machine.programs import LIBRARIES, PACKAGE, environment_of
from node_agent.runtimes.hooks import GUARDED, RULES
from node_agent.runtimes.skills import FOLDER as SKILLS
from node_agent.sandbox import relay
from node_agent.sandbox.policy import Network, System, View, is_within
from node_agent.shim.spool import PhasePlan, StepKind
from node_agent.workspace.folders import open_to_readers
from node_agent.workspace.homes import laid_in

_TOP = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    *("/etc/java*", "/etc/maven", "/etc/python3*", "/etc/perl", "/etc/php", "/etc/fonts"),
    *("/etc/groff", "/etc/X11", "/etc/locale.alias"),
)
"""Targets of links from programs below /usr, such as the security settings that Java needs to start."""
_MODULES = "node_modules"
_HEAD_BYTES = 256
_SHIMS, _SHIMMED = "shims", ("libexec", "bin", "plugins", "version", "versions", "installs")
"""The folder of shims that managers such as pyenv put on PATH, and the folders to which shims lead."""
MOST_LINKS = 500
"""The most links in one folder of PATH that are looked at."""


def this_system(top: Iterable[str] = _TOP, etc: Iterable[str] = _ETC) -> System:
    """The folders of programs here: all under /usr, or in folders of the root as they once were.

    `etc`: patterns; of what fits them, what everybody on the machine may read.
    """
    folders, links = ["/usr"], {}
    for path in top:
        if os.path.islink(path):
            links[path] = os.readlink(path)
        elif os.path.isdir(path):
            folders.append(path)
    needed = [path for pattern in etc for path in sorted(glob.glob(pattern)) if _is_public(path)]
    return System(tuple(folders), links, tuple(needed))


def _is_public(path: str) -> bool:
    """A link is judged by what it leads to, which is what would be shown."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    enter = stat.S_IXOTH if stat.S_ISDIR(mode) else 0
    return bool(mode & stat.S_IROTH) and mode & enter == enter


class Programs:
    """The shown parts of `path` (PATH) and of single programs. `home`: of the node agent's user."""

    def __init__(self, path: str, home: str, system: System) -> None:
        folders = [_clean_path(folder) for folder in path.split(":") if os.path.isabs(folder)]
        self._path, self._home, self._system = ":".join(folders), os.path.realpath(home), system

    def shown(self, *programs: str) -> tuple[str, ...]:
        """Return the folders and files to show, as they are now; missing ones are left out."""
        found = dict.fromkeys(self._of_path())
        for program in programs:
            where = self._which(program)
            found.update(dict.fromkeys(self._of_program(where) if where else ()))
        there = [one for one in found if not self._in_system(one) and os.path.exists(one)]
        # What lies in another of them is shown with it; mounted by itself, a link there would be followed.
        return tuple(
            one for one in there if not any(is_within(one, other) for other in there if other != one)
        )

    def _of_path(self) -> Iterator[str]:
        for folder in self._path.split(":"):
            real = os.path.realpath(folder)
            if self._holds_home(real) or self._in_system(real) or not os.path.isdir(real):
                continue
            yield folder
            yield from self._of_links(folder)
            above, name = os.path.split(real)
            if name == _SHIMS and not self._holds_home(above):
                yield from (f"{above}/{beside}" for beside in _SHIMMED)

    def _of_links(self, folder: str) -> Iterator[str]:
        links: list[str] = []
        with (
            contextlib.suppress(OSError),
            os.scandir(folder) as entries,
        ):  # such as one that is not ours to list
            links += [entry.path for entry in islice(entries, MOST_LINKS) if entry.is_symlink()]
        for link in links:
            yield from self._installed(os.path.realpath(link))
            environment = environment_of(link)  # whose Python is a link itself, to one elsewhere
            if environment is not None and not self._too_much(os.path.realpath(environment)):
                yield environment

    def _which(self, program: str) -> str | None:
        """The program's clean path; None if it is missing, or depends on the folder where somebody stands."""
        if "/" in program and not os.path.isabs(program):
            return None
        where = shutil.which(program, path=self._path) if self._path or "/" in program else None
        return None if where is None else _clean_path(where)

    def _of_program(self, where: str) -> Iterator[str]:
        real = os.path.realpath(where)
        yield from () if self._in_system(real) else (where,)
        yield from self._installed(real)
        interpreter = self._interpreter(real)
        if interpreter:
            yield from (interpreter, *self._installed(os.path.realpath(interpreter)))

    def _installed(self, real: str) -> Iterator[str]:
        """Yield the package's folder, or the folder around a `bin`; else the file alone."""
        parts = Path(real).parts
        if _MODULES in parts:
            yield str(Path(*parts[: parts.index(_MODULES) + 1]))
        elif len(parts) > 4 and parts[-2] == "bin" and not self._too_much(str(Path(*parts[:-2]))):
            yield str(Path(*parts[:-2]))
        else:
            yield real

    def _interpreter(self, program: str) -> str | None:
        """The interpreter in a script's first line."""
        try:
            if not stat.S_ISREG(os.stat(program).st_mode):
                return None
            with open(program, "rb") as file:
                head = file.read(_HEAD_BYTES)
        except OSError:
            return None
        words = os.fsdecode(head.split(b"\n", 1)[0][2:]).split() if head.startswith(b"#!") else []
        if not words:
            return None
        by_name = os.path.basename(words[0]) == "env" and len(words) > 1
        return self._which(words[1] if by_name else words[0])

    def _too_much(self, real: str) -> bool:
        """Whether it is a home, contains one, or is right below one, such as ~/.cargo with its tokens."""
        return self._holds_home(real) or os.path.dirname(real) == self._home

    def _holds_home(self, real: str) -> bool:
        return is_within(self._home, real)

    def _in_system(self, path: str) -> bool:
        return any(is_within(path, top) for top in (*self._system.folders, *self._system.links))


def _clean_path(path: str) -> str:
    """The clean form of an absolute path, which may begin with two slashes."""
    return "/" + os.path.normpath(path).lstrip("/")


GATE = "gate"
"""The folder of the model gateway's socket, in an attempt's folder."""
SOCKET = "model.sock"
RELAY = relay.__file__
"""Our program that connects to the model gateway from inside."""


def is_begun_by_us(plan: PhasePlan, network: Network) -> bool:
    """Whether the first process inside is ours: the model is behind the gateway, or the agent is our worker.

    Other phases keep bubblewrap as the first process, which reports missing programs; their own processes can
    see its environment in any case.
    """
    python = os.path.realpath(sys.executable)
    own = (step.kind is StepKind.AGENT and os.path.realpath(step.argv[0]) == python for step in plan.steps)
    return network is Network.MODEL or any(own)


def first_words(view: View, port: int) -> tuple[str, ...]:
    """The beginning of a step's command where the first process inside is ours."""
    where = (str(port), f"{view.gate}/{SOCKET}") if view.network is Network.MODEL else ("0", "/")
    return (os.path.realpath(sys.executable), "-I", "-S", RELAY, *where, "--")


def open_own(plan: PhasePlan) -> None:
    """Make our own code that runs inside readable: root may have unpacked it for root alone."""
    for folder in (os.path.dirname(RELAY), *own_folders(plan)):
        open_to_readers(Path(folder))


def named_programs(plan: PhasePlan) -> Iterator[str]:
    """Yield the programs that are shown with all that was installed with them: the agent's, and names on
    PATH.

    A path counts only for an agent that a user started: else a repository, by its gate, or a run that
    dispatches another would choose what of the machine is seen.
    """
    own = plan.env.get(DEPTH, "0") == "0"
    for step in plan.steps:
        if "/" not in step.argv[0] or (own and step.kind is StepKind.AGENT):
            yield step.argv[0]


def own_folders(plan: PhasePlan) -> set[str]:
    """The node agent's own folders with which an agent is started: all of them for a worker of ours."""
    agents = [step.argv for step in plan.steps if step.kind is StepKind.AGENT]
    folders = {word for argv in agents for word in argv if word in (PACKAGE, LIBRARIES)}
    if _has_hook(plan.env["HOME"]):
        folders |= {PACKAGE, LIBRARIES}
    return folders | {os.path.dirname(word) for argv in agents for word in argv if _is_ours(word)}


def _has_hook(home: str) -> bool:
    """Whether the run's policy is asked before a tool call, by our hook's program."""
    return os.path.isfile(os.path.join(home, RULES))


def list_guarded(home: str, of_agent: bool = True) -> Iterator[str]:
    """Yield the launch's files in the home, and the folders of hooks: read-only, as the phase found them.

    Among them are a program's settings, and the rules by which it asks; an interactive run may start the
    program from them again. Not `of_agent`: only the folders; after set-up all files are laid anew.
    """
    laid = laid_in(home) if of_agent else ()
    skills = {name.partition(f"/{SKILLS}/")[0] + f"/{SKILLS}" for name in laid if f"/{SKILLS}/" in name}
    folders = [*(name for name in GUARDED if _has_hook(home)), *sorted(skills)]
    files = [name for name in laid if not any(is_within(name, one) for one in folders)]
    for name in (*folders, *files):
        path = os.path.join(home, name)
        if os.path.exists(path) and os.path.realpath(path) == path:
            yield path


def is_clean(path: str) -> bool:
    return os.path.isabs(path) and os.path.normpath(path) == path and path != "/"


def _is_ours(word: str) -> bool:
    """Whether it is a file of the node agent's that starts a step, such as the double's program."""
    return word.startswith(f"{PACKAGE}/") and is_clean(word) and os.path.isfile(word)
