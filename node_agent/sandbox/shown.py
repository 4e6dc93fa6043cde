"""The parts of a node that a sandboxed phase sees, and the files in them that path rules hide."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from node_agent.attempt.plans import DEPTH
from node_agent.files.durable import write_atomic
from node_agent.machine.programs import LIBRARIES, PACKAGE, environment_of
from node_agent.policy.patterns import is_covering, is_plain
from node_agent.runtimes.hooks import GUARDED, RULES
from node_agent.runtimes.skills import FOLDER as SKILLS
from node_agent.sandbox import relay
from node_agent.sandbox.policy import Covers, Network, System, View, is_within
from node_agent.shim.spool import PhasePlan, StepKind
from node_agent.wire.policy import PathAccess, PathRule
from node_agent.workspace.folders import open_to_readers
from node_agent.workspace.homes import laid_in

COVERED = "covered.json"
"""The file with the covered paths, in an attempt's folder, which no process of the attempt can write."""


@dataclass(frozen=True, slots=True)
class Known:
    """A covered file or folder of the checkout. `at`: its device and inode."""

    path: str
    access: PathAccess
    at: tuple[int, int]


def read_covered(folder: Path) -> tuple[Known, ...]:
    """Return the files that earlier phases of this attempt had covered."""
    try:
        entries = json.loads((folder / COVERED).read_bytes())
    except FileNotFoundError:
        return ()
    return tuple(Known(path, PathAccess(access), (device, inode)) for path, access, device, inode in entries)


def write_covered(folder: Path, tree: str, covers: Covers, before: Iterable[Known]) -> None:
    """Record for the next phase the paths in the checkout `tree` that `covers` and `before` contain."""
    entries = {one.at: (one.path, one.access) for one in before}
    every = [*((path, PathAccess.NONE) for path in (*covers.folders, *covers.files))]
    every += [(path, PathAccess.READ) for path in covers.kept]
    for path, access in every:
        if path.startswith(f"{tree}/"):
            seen = os.lstat(path)
            entries[seen.st_dev, seen.st_ino] = (path, access)
    if entries:
        lines = [[path, access.value, *at] for at, (path, access) in entries.items()]
        write_atomic(str(folder / COVERED), json.dumps(lines).encode(), sync=False)


def found_again(tree: str, before: Iterable[Known], most: int) -> tuple[list[Known], bool]:
    """Find the files again. Return them at their present paths, and False if `most` entries were too few."""
    here = list(before)
    stay = [one for one in here if _read_inode(one.path) == one.at and _is_plain(tree, one.path)]
    lost = {one.at: one for one in here if one not in stay}
    inodes = {inode for _, inode in lost}  # an entry of a directory has its inode without a stat call
    for seen, entry in enumerate(_tree_entries(tree) if lost else (), 1):
        if seen > most:
            return stay, False
        at = _read_inode(entry.path) if entry.inode() in inodes else None
        if at in lost:
            one = lost.pop(at)
            stay.append(Known(entry.path, one.access, one.at))
            if not lost:
                break
    return stay, True  # a file that is not found was deleted


def _tree_entries(tree: str) -> Iterator[os.DirEntry[str]]:
    folders = [tree]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:  # unreadable, or the path is too long
            continue
        yield from entries
        folders += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _read_inode(path: str) -> tuple[int, int] | None:
    try:
        seen = os.lstat(path)
    except OSError:
        return None
    return seen.st_dev, seen.st_ino


def _is_plain(tree: str, path: str) -> bool:
    """Whether no parent folder of the path is a symbolic link."""
    return os.path.realpath(path) == f"{os.path.realpath(tree)}{path.removeprefix(tree)}"


MOST_SEEN = 250_000
"""The most entries of a checkout that are searched, so that a start takes only a few seconds."""
MOST_COVERED = 300
"""The most mounts: each adds two arguments, and takes the kernel's time at every start."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The folders of a phase: the checkout, and the shown parts of the node.

    `home`: the home of the node agent's user, which `~` means. `needed`: paths without which the phase cannot
    run, so that no rule can hide them.
    """

    tree: str
    shown: tuple[str, ...] = ()
    home: str = "~"
    needed: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    covers: dict[str, PathAccess] = field(default_factory=dict)
    seen: int = 0

    def add(self, path: str, access: PathAccess) -> None:
        if access is PathAccess.NONE or path not in self.covers:
            self.covers[path] = access

    @property
    def is_full(self) -> bool:
        return self.seen > MOST_SEEN or len(self.covers) > MOST_COVERED


def covers_of(
    rules: Sequence[PathRule], ground: Ground, writable: bool, before: Sequence[Known] = ()
) -> Covers:
    """Return the paths to cover now, without symbolic links and paths behind one. `before`: files covered in
    earlier phases, which are covered again, before files that a program has added since."""
    kinds = (PathAccess.NONE, PathAccess.READ) if writable else (PathAccess.NONE,)
    counting = [rule for rule in rules if rule.access in kinds]
    inside = [rule for rule in counting if not rule.pattern.startswith(("/", "~/"))]
    found = _Found()
    again, is_all = found_again(ground.tree, [one for one in before if one.access in kinds], MOST_SEEN)
    for one in again:
        found.add(one.path, one.access)
    _cover_plain(found, ground, [rule for rule in inside if is_plain(rule.pattern)])
    outside = [rule for rule in counting if rule not in inside and rule.access is PathAccess.NONE]
    _cover_outside(found, ground, [rule for rule in outside if is_plain(rule.pattern)])
    _cover_walked(found, ground, [rule for rule in inside if not is_plain(rule.pattern)])
    return _make_covers(found, found.is_full, not is_all)


def _cover_plain(found: _Found, ground: Ground, rules: Iterable[PathRule]) -> None:
    for rule in rules:
        _cover_path(found, ground, os.path.join(ground.tree, rule.pattern.strip("/")), rule.access)


def _cover_walked(found: _Found, ground: Ground, rules: list[PathRule]) -> None:
    """Search the whole checkout except .git for paths that match; hidden folders are not entered."""
    matching = _Matching(rules)
    folders: list[tuple[str, str, bool]] = [(ground.tree, "", False)] if rules else []
    while folders and not found.is_full:
        folder, name, kept = folders.pop()
        for entry in _list_entries(folder):
            found.seen += 1
            path = f"{name}{entry.name}"
            if path == ".git" or found.is_full:
                continue
            access = matching.access(entry.name, path)
            if access is not None and not (kept and access is PathAccess.READ):
                _cover_path(found, ground, entry.path, access)
            if access is not PathAccess.NONE and entry.is_dir(follow_symlinks=False):
                folders.append((entry.path, f"{path}/", kept or access is PathAccess.READ))


class _Matching:
    """Finds the strictest rule for an entry; most rules are a plain name, and need no pattern matching."""

    def __init__(self, rules: Iterable[PathRule]) -> None:
        self._names: dict[str, PathAccess] = {}
        self._patterns: list[PathRule] = []
        for rule in sorted(rules, key=lambda rule: rule.access is PathAccess.NONE):
            name = rule.pattern.removesuffix("/")
            if "/" in name or "*" in name or "?" in name:
                self._patterns.append(rule)
            else:
                self._names[name] = rule.access

    def access(self, name: str, path: str) -> PathAccess | None:
        found = {rule.access for rule in self._patterns if is_covering(rule.pattern, path)}
        if name in self._names:
            found.add(self._names[name])
        return next((one for one in (PathAccess.NONE, PathAccess.READ) if one in found), None)


def _list_entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:  # unreadable, deleted, or its path is too long
        return


def _cover_path(found: _Found, ground: Ground, path: str, access: PathAccess) -> None:
    """Cover the path that `path` resolves to, if in the checkout: a symbolic link cannot be mounted over."""
    top, real = os.path.realpath(ground.tree), os.path.realpath(path)
    if real.startswith(f"{top}/") and os.path.exists(real):
        here = f"{ground.tree}{real[len(top) :]}"
        if here != f"{ground.tree}/.git" or access is PathAccess.NONE:
            found.add(here, access)


def _cover_outside(found: _Found, ground: Ground, rules: Iterable[PathRule]) -> None:
    """Cover hidden paths outside the checkout; all other paths there are read-only in any case."""
    for rule in rules:
        pattern = rule.pattern.rstrip("/")
        path = os.path.realpath(f"{ground.home}{pattern[1:]}" if pattern.startswith("~") else pattern)
        seen = any(is_within(path, above) for above in ground.shown)
        if seen and os.path.exists(path) and not any(is_within(one, path) for one in ground.needed):
            found.add(path, rule.access)


def _make_covers(found: _Found, left: bool, lost: bool) -> Covers:
    folders, files, kept = list[str](), list[str](), list[str]()
    hidden = {path for path, access in found.covers.items() if access is PathAccess.NONE}
    for path, access in list(found.covers.items())[:MOST_COVERED]:
        if any(path != other and is_within(path, other) for other in hidden):
            continue  # a hidden folder already covers it
        if access is PathAccess.READ:
            kept.append(path)
        elif stat.S_ISDIR(os.lstat(path).st_mode):
            folders.append(path)
        else:
            files.append(path)
    return Covers(tuple(folders), tuple(files), tuple(kept), left, lost)


_TOP = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    *("/etc/java*", "/etc/maven", "/etc/python3*", "/etc/perl", "/etc/php", "/etc/fonts"),
    *("/etc/groff", "/etc/X11", "/etc/locale.alias"),
)
"""Targets outside /usr of links from programs, such as the security settings that Java needs to start."""
_MODULES = "node_modules"
_HEAD_BYTES = 256
_SHIMS, _SHIMMED = "shims", ("libexec", "bin", "plugins", "version", "versions", "installs")
"""The shims folder that managers such as pyenv put on PATH, and the folders to which shims lead."""
MOST_LINKS = 500
"""The most links that are followed in one folder of PATH."""


def this_system(top: Iterable[str] = _TOP, etc: Iterable[str] = _ETC) -> System:
    """Return this node's program folders: all in /usr, or in top-level folders on older systems. `etc`:
    patterns of files in /etc; only files that all users may read are included."""
    folders, links = ["/usr"], {}
    for path in top:
        if os.path.islink(path):
            links[path] = os.readlink(path)
        elif os.path.isdir(path):
            folders.append(path)
    needed = [path for pattern in etc for path in sorted(glob.glob(pattern)) if _is_public(path)]
    return System(tuple(folders), links, tuple(needed))


def _is_public(path: str) -> bool:
    """Whether all users may read the path; for a link, whether they may read its target."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    enter = stat.S_IXOTH if stat.S_ISDIR(mode) else 0
    return bool(mode & stat.S_IROTH) and mode & enter == enter


class Programs:
    """Finds the parts of `path` (PATH) and of single programs to show. `home`: of the node agent's user."""

    def __init__(self, path: str, home: str, system: System) -> None:
        folders = [_clean_path(folder) for folder in path.split(":") if os.path.isabs(folder)]
        self._path, self._home, self._system = ":".join(folders), os.path.realpath(home), system

    def shown(self, *programs: str) -> tuple[str, ...]:
        """Return the existing folders and files to show for these programs; missing ones are left out."""
        found = dict.fromkeys(self._of_path())
        for program in programs:
            where = self._find_program(program)
            found.update(dict.fromkeys(self._of_program(where) if where else ()))
        there = [one for one in found if not self._in_system(one) and os.path.exists(one)]
        # A path inside another path is shown with it; a separate mount of a link would follow the link.
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
        # for example a folder that this user may not list
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            links += [entry.path for entry in islice(entries, MOST_LINKS) if entry.is_symlink()]
        for link in links:
            yield from self._yield_installed(os.path.realpath(link))
            # the Python of a virtual environment is itself a link to another folder
            environment = environment_of(link)
            if environment is not None and not self._too_much(os.path.realpath(environment)):
                yield environment

    def _find_program(self, program: str) -> str | None:
        """Return the program's normalized path; None if it is missing or relative."""
        if "/" in program and not os.path.isabs(program):
            return None
        where = shutil.which(program, path=self._path) if self._path or "/" in program else None
        return None if where is None else _clean_path(where)

    def _of_program(self, where: str) -> Iterator[str]:
        real = os.path.realpath(where)
        yield from () if self._in_system(real) else (where,)
        yield from self._yield_installed(real)
        interpreter = self._find_interpreter(real)
        if interpreter:
            yield from (interpreter, *self._yield_installed(os.path.realpath(interpreter)))

    def _yield_installed(self, real: str) -> Iterator[str]:
        """Yield the folder of `real`'s package, or the parent of its `bin` folder; else the file alone."""
        parts = Path(real).parts
        if _MODULES in parts:
            yield str(Path(*parts[: parts.index(_MODULES) + 1]))
        elif len(parts) > 4 and parts[-2] == "bin" and not self._too_much(str(Path(*parts[:-2]))):
            yield str(Path(*parts[:-2]))
        else:
            yield real

    def _find_interpreter(self, program: str) -> str | None:
        """Return the interpreter that the first line of a script names; None for other files."""
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
        return self._find_program(words[1] if by_name else words[0])

    def _too_much(self, real: str) -> bool:
        """Whether `real` is the user's home, contains it, or is directly in it, like ~/.cargo with tokens."""
        return self._holds_home(real) or os.path.dirname(real) == self._home

    def _holds_home(self, real: str) -> bool:
        return is_within(self._home, real)

    def _in_system(self, path: str) -> bool:
        return any(is_within(path, top) for top in (*self._system.folders, *self._system.links))


def _clean_path(path: str) -> str:
    """Return an absolute path in normalized form, also if it begins with two slashes."""
    return "/" + os.path.normpath(path).lstrip("/")


GATE = "gate"
"""The folder of the model gateway's socket, in an attempt's folder."""
SOCKET = "model.sock"
RELAY = relay.__file__
"""The program that connects to the model gateway from inside the sandbox."""


def is_begun_by_us(plan: PhasePlan, network: Network) -> bool:
    """Whether the sandbox's first process is PanCode's: with a model gateway or PanCode's worker as agent.

    In other phases bubblewrap is the first process, as it reports missing programs; their processes can see
    the environment in any case.
    """
    python = os.path.realpath(sys.executable)
    own = (step.kind is StepKind.AGENT and os.path.realpath(step.argv[0]) == python for step in plan.steps)
    return network is Network.MODEL or any(own)


def first_words(view: View, port: int) -> tuple[str, ...]:
    """Return the beginning of a step's command when the sandbox's first process is PanCode's own."""
    where = (str(port), f"{view.gate}/{SOCKET}") if view.network is Network.MODEL else ("0", "/")
    return (os.path.realpath(sys.executable), "-I", "-S", RELAY, *where, "--")


def open_own(plan: PhasePlan) -> None:
    """Make PanCode's code for the sandbox readable for all: root may have unpacked it for root alone."""
    for folder in (os.path.dirname(RELAY), *own_folders(plan)):
        open_to_readers(Path(folder))


def named_programs(plan: PhasePlan) -> Iterator[str]:
    """Yield the programs to show with all that is installed with them: the agent's, and those named on PATH.

    A program named by a path counts only for an agent that a user started; otherwise a repository's gate
    command, or a run that dispatches another, could choose which parts of the node are visible.
    """
    own = plan.env.get(DEPTH, "0") == "0"
    for step in plan.steps:
        if "/" not in step.argv[0] or (own and step.kind is StepKind.AGENT):
            yield step.argv[0]


def own_folders(plan: PhasePlan) -> set[str]:
    """Return the node agent's folders that the agent's start needs; for a PanCode worker, all of them."""
    agents = [step.argv for step in plan.steps if step.kind is StepKind.AGENT]
    folders = {word for argv in agents for word in argv if word in (PACKAGE, LIBRARIES)}
    if _has_hook(plan.env["HOME"]):
        folders |= {PACKAGE, LIBRARIES}
    return folders | {os.path.dirname(word) for argv in agents for word in argv if _is_ours(word)}


def _has_hook(home: str) -> bool:
    """Whether the home contains PanCode's hook, which checks the run's policy before each tool call."""
    return os.path.isfile(os.path.join(home, RULES))


def list_guarded(home: str, of_agent: bool = True) -> Iterator[str]:
    """Yield the launch's files in the home and the folders of hooks, which become read-only.

    They include a program's settings and approval rules, since an interactive run may start the program again
    with them. Without `of_agent`: only the folders, since all files are written again after set-up.
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
    """Whether the path is a file of the node agent that starts a step, such as the scripted program."""
    return word.startswith(f"{PACKAGE}/") and is_clean(word) and os.path.isfile(word)
